// What a folder is: the family and the sampler that follow from its files, and the folders that are refused.
#include "engine/models/folder/folder_contents.h"

#include <map>
#include <string>
#include <vector>

#include "engine/models/folder/settings.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/scheduler_json.h"
#include "tests/engine/temp_folder.h"

namespace longtake {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Files = std::map<std::string, std::string>;

constexpr char kIndex[] = "model_index.json", kOurs[] = "longtake.json", kVideo[] = "transformer/config.json",
               kVae[] = "vae/config.json", kScheduler[] = "scheduler/scheduler_config.json";

std::string Index(const std::string& transformer = "SanaVideoTransformer3DModel",
                  const std::string& scheduler = "DPMSolverMultistepScheduler",
                  const std::string& vae = "AutoencoderKLWan", const std::string& pipeline = "SanaVideoPipeline") {
  return R"({"_class_name":")" + pipeline + R"(","_diffusers_version":"0.36.0","scheduler":["diffusers",")" +
         scheduler +
         R"("],"text_encoder":["transformers","Gemma2Model"],"tokenizer":["transformers","GemmaTokenizer"],)" +
         R"("transformer":["diffusers",")" + transformer + R"("],"vae":["diffusers",")" + vae + R"("]})";
}
std::string Video(int sample_size, const std::string& name = "SanaVideoTransformer3DModel") {
  return R"({"_class_name":")" + name + R"(","sample_size":)" + std::to_string(sample_size) + "}";
}
std::string Vae(const std::string& name) { return R"({"_class_name":")" + name + R"("})"; }

absl::StatusOr<ModelSettings> Load(const Files& files) {
  const TempFolder folder;
  for (const auto& [name, text] : files) folder.Write(name, text);
  return ModelSettings::Load(folder.path());
}

// As diffusers saves SANA-Video 480p.
Files Published480p() {
  return {{kIndex, Index()},
          {kVideo, Video(30)},
          {kVae, Vae("AutoencoderKLWan")},
          {kScheduler, Scheduler(kDpmSolverScheduler)}};
}
Files Published720p() {
  return {{kIndex, Index("SanaVideoTransformer3DModel", "DPMSolverMultistepScheduler", "AutoencoderKLLTX2Video")},
          {kVideo, Video(22)},
          {kVae, Vae("AutoencoderKLLTX2Video")},
          {kScheduler, Scheduler(kDpmSolverScheduler)}};
}
// As tools/convert writes it.
Files PublishedSanaVideo2() {
  return {{kIndex, Index("SanaVideo2", "DPMSolverMultistepScheduler", "AutoencoderKLLTX2Video")},
          {kVideo, R"({"_class_name":"SanaVideo2"})"},
          {kVae, Vae("AutoencoderKLLTX2Video")}};
}
Files PublishedLongSana() {
  constexpr char kCausal[] = "SanaVideoCausalTransformer3DModel";
  return {{kIndex, Index(kCausal, "FlowMatchEulerDiscreteScheduler", "AutoencoderKLWan", "LongSanaVideoPipeline")},
          {kVideo, Video(30, kCausal)},
          {kVae, Vae("AutoencoderKLWan")},
          {kScheduler, Scheduler(kEulerScheduler)}};
}
Files With(Files files, const std::string& name, const std::string& text) {
  files[name] = text;
  return files;
}
Files Without(Files files, const std::string& name) {
  files.erase(name);
  return files;
}

TEST(FolderContents, SaysWhatAFolderIs) {
  struct Case {
    const char* what;
    Files files;
    const char *family, *sampler;
    bool causal;
  };
  const std::string image = Index("SanaVideoTransformer3DModel", "DPMSolverMultistepScheduler", "AutoencoderKLWan",
                                  "SanaImageToVideoPipeline");
  for (const Case& c : std::vector<Case>{
           {"SANA-Video 480p", Published480p(), "sana_video_480p", "flow_dpm_solver", false},
           {"of the image pipeline", With(Published480p(), kIndex, image), "sana_video_480p", "flow_dpm_solver", false},
           {"without an index", Without(Published480p(), kIndex), "sana_video_480p", "flow_dpm_solver", false},
           {"an overlaid field", With(Published480p(), kOurs, R"({"fps": 24})"), "sana_video_480p", "flow_dpm_solver",
            false},
           {"an empty overlay", With(Published480p(), kOurs, "{}"), "sana_video_480p", "flow_dpm_solver", false},
           {"Euler",
            With(With(Published480p(), kScheduler, Scheduler(kEulerScheduler)), kIndex,
                 Index("SanaVideoTransformer3DModel", "FlowMatchEulerDiscreteScheduler")),
            "sana_video_480p", "flow_euler", false},
           {"UniPC, whose class the index alone names",
            With(With(Published480p(), kScheduler, Scheduler(kUniPcScheduler, R"({"_class_name":"ABSENT"})")), kIndex,
                 Index("SanaVideoTransformer3DModel", "UniPCMultistepScheduler")),
            "sana_video_480p", "flow_unipc", false},
           {"no scheduler, but a sampler",
            With(Without(Published480p(), kScheduler), kOurs, R"({"sampler": "flow_euler"})"), "sana_video_480p",
            "flow_euler", false},
           {"no scheduler, but a family",
            With(Without(Published480p(), kScheduler), kOurs, R"({"family": "sana_video_480p"})"), "sana_video_480p",
            "flow_dpm_solver", false},
           {"SANA-Video 720p", Published720p(), "sana_video_720p", "flow_dpm_solver", false},
           {"720p with the causal VAE",
            With(Without(Published720p(), kIndex), kVae, Vae("AutoencoderKLCausalLTX2Video")), "sana_video_720p",
            "flow_dpm_solver", false},
           {"SANA-Video 2.0", PublishedSanaVideo2(), "sana_video_2", "flow_dpm_solver", false},
           {"SANA-Video 2.0 without an index", Without(PublishedSanaVideo2(), kIndex), "sana_video_2",
            "flow_dpm_solver", false},
           {"SANA-Video 2.0 with Euler steps", With(PublishedSanaVideo2(), kOurs, R"({"sampler": "flow_euler"})"),
            "sana_video_2", "flow_euler", false},
           {"ours with SANA-Video 2.0's transformer",
            With(PublishedSanaVideo2(), kOurs, R"({"family": "longtake", "sampler": "flow_unipc"})"), "longtake",
            "flow_unipc", false},
           {"ours with an LTX-2 VAE",
            {{kOurs, R"({"sampler": "few_step"})"}, {kVae, Vae("AutoencoderKLCausalLTX2Video")}},
            "longtake",
            "few_step",
            true},
           {"LongSANA", PublishedLongSana(), "longsana", "few_step", true},
           {"LongSANA by the index alone",
            {{kIndex, Index("SanaVideoCausalTransformer3DModel", "Anything")}},
            "longsana",
            "few_step",
            true},
           {"LongSANA with a field of ours", With(PublishedLongSana(), kOurs, R"({"state_window_blocks": 3})"),
            "longsana", "few_step", true},
           {"LongSANA's weights under SANA-Video's class",
            With(Without(Published480p(), kScheduler), kOurs, R"({"family": "longsana"})"), "longsana", "few_step",
            true},
           {"ours", {{kOurs, R"({"sampler": "few_step"})"}}, "longtake", "few_step", true},
           {"ours, with another way to sample beside it", With(Published480p(), kOurs, R"({"sampler": "few_step"})"),
            "longtake", "few_step", true},
           {"ours and bidirectional",
            With(Without(Published480p(), kScheduler), kOurs,
                 R"({"family": "longtake", "sampler": "flow_dpm_solver"})"),
            "longtake", "flow_dpm_solver", false},
           {"a text encoder alone", With(Without(Published480p(), kVideo), kVae, Vae("AutoencoderKLWan")),
            "sana_video_480p", "flow_dpm_solver", false},
       }) {
    const auto settings = Load(c.files);
    ASSERT_TRUE(settings.ok()) << c.what << ": " << settings.status();
    EXPECT_EQ(FamilyName(settings->family), c.family) << c.what;
    EXPECT_EQ(SamplerName(settings->sampler), c.sampler) << c.what;
    EXPECT_EQ(settings->causal, c.causal) << c.what;
  }
}

TEST(FolderContents, RefusesByFileAndField) {
  struct Case {
    const char* what;
    Files files;
    const char *file, *names;
  };
  constexpr char kCausal[] = "SanaVideoCausalTransformer3DModel";
  for (const Case& c : std::vector<Case>{
           {"nothing", {}, "longtake.json", "nothing says how to sample"},
           {"a lost longtake.json", Without(Published480p(), kScheduler), "scheduler_config.json",
            "nothing says how to sample"},
           {"no sampler anywhere", {{kOurs, R"({"fps": 24})"}}, kOurs, "'sampler' is missing"},
           {"no sampler of ours", {{kOurs, R"({"family": "longtake"})"}}, kOurs, "'sampler' is missing"},
           {"an unknown family", With(Published480p(), kOurs, R"({"family": "sana"})"), kOurs, "'family'"},
           {"a family that is no text", With(Published480p(), kOurs, R"({"family": 480})"), kOurs, "'family'"},
           {"an unknown pipeline",
            With(Published480p(), kIndex,
                 Index("SanaVideoTransformer3DModel", "DPMSolverMultistepScheduler", "AutoencoderKLWan",
                       "SanaPipeline")),
            kIndex, "'_class_name' is \"SanaPipeline\""},
           {"an unknown transformer", With(Published480p(), kVideo, Video(30, "SanaWMTransformer3DModel")), kVideo,
            "'_class_name' is \"SanaWMTransformer3DModel\""},
           {"an unknown VAE", With(Published480p(), kVae, Vae("AutoencoderDC")), kVae,
            "'_class_name' is \"AutoencoderDC\""},
           {"an unknown text encoder",
            With(Published480p(), kIndex, R"({"text_encoder":["transformers","T5EncoderModel"]})"), kIndex,
            "'text_encoder' is \"T5EncoderModel\""},
           {"a part that is not known",
            With(Published480p(), kIndex, R"({"image_encoder":["transformers","CLIPVisionModel"]})"), kIndex,
            "'image_encoder'"},
           {"an entry that is no pair", With(Published480p(), kIndex, R"({"vae":"AutoencoderKLWan"})"), kIndex,
            "'vae'"},
           {"an unknown scheduler",
            With(Without(Published480p(), kIndex), kScheduler,
                 Scheduler(kDpmSolverScheduler, R"({"_class_name":"DDIMScheduler"})")),
            kScheduler, "'_class_name' is \"DDIMScheduler\""},
           {"a scheduler without a class",
            With(Without(Published480p(), kIndex), kScheduler,
                 Scheduler(kDpmSolverScheduler, R"({"_class_name":"ABSENT"})")),
            kScheduler, "'_class_name' is missing"},
           {"index and transformer disagree", With(Published480p(), kVideo, Video(30, kCausal)), kVideo,
            "but model_index.json says SanaVideoTransformer3DModel"},
           {"index and VAE disagree", With(Published480p(), kVae, Vae("AutoencoderKLLTX2Video")), kVae,
            "but model_index.json says AutoencoderKLWan"},
           {"index and scheduler disagree", With(Published480p(), kScheduler, Scheduler(kEulerScheduler)), kScheduler,
            "but model_index.json says DPMSolverMultistepScheduler"},
           {"sampler and scheduler disagree", With(Published480p(), kOurs, R"({"sampler": "flow_euler"})"), kOurs,
            "'sampler' is \"flow_euler\""},
           {"a bidirectional sampler of a causal class",
            With(PublishedLongSana(), kOurs, R"({"sampler": "flow_euler"})"), kOurs, "'sampler'"},
           {"a causal sampler of a bidirectional family",
            With(Published480p(), kOurs, R"({"family": "sana_video_480p", "sampler": "few_step"})"), kOurs,
            "'sampler'"},
           {"a bidirectional family of a causal class",
            With(PublishedLongSana(), kOurs, R"({"family": "sana_video_480p"})"), kOurs, "'family'"},
           {"the causal pipeline of the other class",
            With(Published480p(), kIndex,
                 Index("SanaVideoTransformer3DModel", "X", "AutoencoderKLWan", "LongSanaVideoPipeline")),
            kIndex, "'_class_name' is LongSanaVideoPipeline"},
           {"another family of SANA-Video 2.0's transformer",
            With(PublishedSanaVideo2(), kOurs, R"({"family": "sana_video_720p"})"), kOurs,
            "'family' is \"sana_video_720p\", but the transformer's class is SanaVideo2"},
           {"SANA-Video 2.0 of another transformer", With(Published720p(), kOurs, R"({"family": "sana_video_2"})"),
            kOurs, "'family' is \"sana_video_2\", but the transformer's class is SanaVideoTransformer3DModel"},
           {"SANA-Video 2.0 block by block",
            With(PublishedSanaVideo2(), kOurs, R"({"family": "longtake", "sampler": "few_step"})"), kOurs,
            "'sampler' is \"few_step\", which makes block by block"},
           {"SANA-Video 2.0 with Wan's VAE",
            With(Without(PublishedSanaVideo2(), kIndex), kVae, Vae("AutoencoderKLWan")), kVae,
            "'_class_name' is AutoencoderKLWan, but sana_video_2's is AutoencoderKLLTX2Video"},
           {"480p with the other's size", With(Published720p(), kOurs, R"({"family": "sana_video_480p"})"), kVideo,
            "'sample_size' is 22"},
           {"a size of neither", With(Published480p(), kVideo, Video(64)), kVideo, "'sample_size' is 64"},
           {"480p with the other's VAE", With(Without(Published480p(), kIndex), kVae, Vae("AutoencoderKLLTX2Video")),
            kVae, "sana_video_480p's"},
           {"480p with the causal VAE of LTX-2",
            With(Without(Published480p(), kIndex), kVae, Vae("AutoencoderKLCausalLTX2Video")), kVae,
            "sana_video_480p's"},
           {"720p with the other's VAE", With(Published480p(), kVideo, Video(22)), kVae, "sana_video_720p's"},
       }) {
    const auto settings = Load(c.files);
    ASSERT_FALSE(settings.ok()) << c.what;
    EXPECT_THAT(std::string(settings.status().message()), AllOf(HasSubstr(c.file), HasSubstr(c.names))) << c.what;
  }
}

}  // namespace
}  // namespace longtake
