#include "engine/models/folder/folder_contents.h"

#include <algorithm>
#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"
#include "engine/models/folder/scheduler_config.h"

namespace longtake {
namespace {

constexpr char kTransformer[] = "SanaVideoTransformer3DModel", kCausal[] = "SanaVideoCausalTransformer3DModel",
               kSanaVideo2[] = "SanaVideo2";
constexpr char kWanVae[] = "AutoencoderKLWan", kLtx2Vae[] = "AutoencoderKLLTX2Video",
               kCausalLtx2Vae[] = "AutoencoderKLCausalLTX2Video";
constexpr char kLongSanaPipeline[] = "LongSanaVideoPipeline";
// sample_size in the transformer's config, from which diffusers' pipeline selects its table of sizes.
constexpr int64_t k480pSampleSize = 30, k720pSampleSize = 22;

using Names = std::vector<std::string>;

void CheckClass(JsonConfig& json, const std::string& field, const std::string& name, const Names& known) {
  if (name.empty() || std::find(known.begin(), known.end(), name) != known.end()) return;
  json.Fail(field, absl::StrCat("is \"", name.substr(0, 80), "\", but only ", absl::StrJoin(known, ", "),
                                known.size() == 1 ? " is" : " are", " supported"));
}

// Returns the class of a part in model_index.json, whose entries are [library, class], or "" if the part is absent.
std::string IndexClass(JsonConfig& json, const std::string& part) {
  const nlohmann::json* entry = json.Raw(part);
  if (entry == nullptr || entry->is_null()) return "";
  if (!entry->is_array() || entry->size() != 2) {
    json.Fail(part, "must be [library, class]");
    return "";
  }
  const nlohmann::json& name = (*entry)[1];
  if (name.is_null()) return "";
  if (!name.is_string()) json.Fail(part, "must be [library, class]");
  return name.is_string() ? name.get<std::string>() : "";
}

absl::Status ReadIndex(const std::string& path, FolderContents& c) {
  ASSIGN_OR_RETURN(JsonConfig json, JsonConfig::Load(path));
  c.pipeline = json.String("_class_name", "");
  // The weights in folders of the image pipeline also generate video from text.
  CheckClass(json, "_class_name", c.pipeline, {"SanaVideoPipeline", "SanaImageToVideoPipeline", kLongSanaPipeline});
  c.transformer = IndexClass(json, "transformer");
  CheckClass(json, "transformer", c.transformer, {kTransformer, kCausal, kSanaVideo2});
  c.vae = IndexClass(json, "vae");
  CheckClass(json, "vae", c.vae, {kWanVae, kLtx2Vae, kCausalLtx2Vae});
  CheckClass(json, "text_encoder", IndexClass(json, "text_encoder"), {"Gemma2Model", "Gemma2ForCausalLM"});
  c.scheduler = IndexClass(json, "scheduler");
  // The tokenizer's class is not checked, because its files determine it. Parts of other names are refused, since they
  // would change the result.
  json.Ignore({"_diffusers_version", "_name_or_path", "tokenizer"});
  return json.Finish();
}

// Reads the class from a part's own config.json. It must equal the class in model_index.json if that names one.
absl::Status ReadPartClass(JsonConfig& json, const Names& known, std::string& class_name) {
  const std::string own = json.String("_class_name", "");
  CheckClass(json, "_class_name", own, known);
  if (!own.empty() && !class_name.empty() && own != class_name) {
    json.Fail("_class_name", absl::StrCat("is ", own, ", but model_index.json says ", class_name));
  }
  if (!own.empty()) class_name = own;
  return json.FirstError();
}

absl::Status ReadSettingsHead(JsonConfig& json, FolderContents& c) {
  const std::string family = json.String("family", ""), sampler = json.String("sampler", "");
  c.named_family = FamilyNamed(family);
  if (!family.empty() && !c.named_family) {
    json.Fail("family",
              "must be \"sana_video_480p\", \"sana_video_720p\", \"sana_video_2\", \"longsana\" or \"longtake\"");
  }
  c.named_sampler = SamplerNamed(sampler);
  if (!sampler.empty() && !c.named_sampler) {
    json.Fail("sampler", "must be \"few_step\", \"flow_dpm_solver\", \"flow_euler\", \"flow_unipc\" or \"flow_lcm\"");
  }
  return json.FirstError();
}

absl::Status Error(const FolderContents& c, const std::string& file, const std::string& field, const std::string& why) {
  return absl::InvalidArgumentError(absl::StrCat(c.folder, "/", file, ": field '", field, "' ", why));
}

// Refuses files of the folder that contradict the family.
absl::Status CheckFamily(const FolderContents& c, Family family) {
  const std::string name = FamilyName(family);
  const bool first = family == Family::kSanaVideo480p || family == Family::kSanaVideo720p;
  const bool sana_video = first || family == Family::kSanaVideo2;
  const bool few_step = c.named_sampler == SamplerKind::kFewStep;
  if (c.transformer == kCausal && family != Family::kLongSana) {
    return Error(c, "longtake.json", "family",
                 absl::StrCat("is \"", name, "\", but the transformer's class ", kCausal, " is LongSANA's"));
  }
  if (!c.transformer.empty() && family != Family::kLongtake &&
      (c.transformer == kSanaVideo2) != (family == Family::kSanaVideo2)) {
    return Error(c, "longtake.json", "family",
                 absl::StrCat("is \"", name, "\", but the transformer's class is ", c.transformer));
  }
  if (c.transformer == kSanaVideo2 && few_step) {
    return Error(c, "longtake.json", "sampler",
                 absl::StrCat("is \"few_step\", which makes block by block, but ", kSanaVideo2,
                              " has layers that see the whole clip"));
  }
  if (c.pipeline == kLongSanaPipeline && (family != Family::kLongSana || c.transformer == kTransformer)) {
    return Error(c, "model_index.json", "_class_name",
                 absl::StrCat("is ", kLongSanaPipeline, ", but ",
                              family != Family::kLongSana ? "longtake.json's family is " + name
                                                          : "the transformer's class is " + c.transformer));
  }
  if (c.named_sampler && sana_video == few_step && family != Family::kLongtake) {
    return Error(c, "longtake.json", "sampler",
                 absl::StrCat("is \"", SamplerName(*c.named_sampler), "\", which ", name,
                              sana_video ? ", a bidirectional family, cannot use" : ", a causal family, cannot use"));
  }
  if (first) {
    const bool is_480p = family == Family::kSanaVideo480p;
    if (c.sample_size == (is_480p ? k720pSampleSize : k480pSampleSize)) {
      return Error(
          c, "transformer/config.json", "sample_size",
          absl::StrCat("is ", c.sample_size, ", but ", name, "'s is ", is_480p ? k480pSampleSize : k720pSampleSize));
    }
  }
  // A model of its own has any VAE. The causal LTX-2 decoder reads the same latents as the other one.
  const bool ltx2 = family == Family::kSanaVideo720p || family == Family::kSanaVideo2;
  const bool fits = family == Family::kLongtake || (ltx2 ? c.vae != kWanVae : c.vae == kWanVae);
  if (!c.vae.empty() && !fits) {
    return Error(c, "vae/config.json", "_class_name",
                 absl::StrCat("is ", c.vae, ", but ", name, "'s is ", ltx2 ? kLtx2Vae : kWanVae));
  }
  return absl::OkStatus();
}

absl::StatusOr<Family> FindFamily(const FolderContents& c) {
  if (c.named_family) return *c.named_family;
  if (c.transformer == kSanaVideo2) return Family::kSanaVideo2;
  if (c.transformer == kCausal || c.pipeline == kLongSanaPipeline) return Family::kLongSana;
  if (c.named_sampler == SamplerKind::kFewStep) return Family::kLongtake;
  if (!c.named_sampler && !c.scheduler_config) {
    if (c.settings) {
      return Error(c, "longtake.json", "sampler", "is missing, and no scheduler/scheduler_config.json says it");
    }
    return absl::InvalidArgumentError(absl::StrCat(c.folder,
                                                   ": nothing says how to sample: there is neither longtake.json nor "
                                                   "scheduler/scheduler_config.json"));
  }
  if (c.sample_size == k480pSampleSize) return Family::kSanaVideo480p;
  if (c.sample_size == k720pSampleSize) return Family::kSanaVideo720p;
  return Error(c, "transformer/config.json", "sample_size",
               absl::StrCat("is ", c.sample_size, "; 30 is SANA-Video 480p, 22 is 720p"));
}

}  // namespace

bool PathExists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::symlink_status(path, ignored).type() != std::filesystem::file_type::not_found;
}

absl::StatusOr<FolderContents> ReadFolderContents(const std::string& folder) {
  FolderContents c{.folder = folder};
  const auto load = [&](const char* file) -> absl::StatusOr<std::optional<JsonConfig>> {
    const std::string path = absl::StrCat(folder, "/", file);
    if (!PathExists(path)) return std::nullopt;
    ASSIGN_OR_RETURN(JsonConfig json, JsonConfig::Load(path));
    return std::optional<JsonConfig>(std::move(json));
  };
  if (const std::string index = folder + "/model_index.json"; PathExists(index)) {
    RETURN_IF_ERROR(ReadIndex(index, c));
  }
  ASSIGN_OR_RETURN(c.settings, load("longtake.json"));
  if (c.settings) RETURN_IF_ERROR(ReadSettingsHead(*c.settings, c));
  ASSIGN_OR_RETURN(std::optional<JsonConfig> transformer, load("transformer/config.json"));
  if (transformer) {
    RETURN_IF_ERROR(ReadPartClass(*transformer, {kTransformer, kCausal, kSanaVideo2}, c.transformer));
    c.sample_size = transformer->Int("sample_size", 1, 1 << 20, c.sample_size);
    RETURN_IF_ERROR(transformer->FirstError());
  }
  ASSIGN_OR_RETURN(std::optional<JsonConfig> vae, load("vae/config.json"));
  if (vae) RETURN_IF_ERROR(ReadPartClass(*vae, {kWanVae, kLtx2Vae, kCausalLtx2Vae}, c.vae));
  ASSIGN_OR_RETURN(c.scheduler_config, load("scheduler/scheduler_config.json"));
  return c;
}

absl::StatusOr<Family> IdentifyFamily(const FolderContents& contents) {
  ASSIGN_OR_RETURN(const Family family, FindFamily(contents));
  RETURN_IF_ERROR(CheckFamily(contents, family));
  return family;
}

absl::StatusOr<SamplerKind> IdentifySampler(const FolderContents& c, Family family,
                                            std::optional<SamplerKind> by_default) {
  // A scheduler beside few-step settings belongs to another way to sample the same weights, which is not used here.
  if (family == Family::kLongSana || c.named_sampler == SamplerKind::kFewStep) return SamplerKind::kFewStep;
  if (c.scheduler_config) {
    JsonConfig json = *c.scheduler_config;
    std::string own = json.String("_class_name", "");
    if (!own.empty() && !c.scheduler.empty() && own != c.scheduler) {
      json.Fail("_class_name", absl::StrCat("is ", own, ", but model_index.json says ", c.scheduler));
    }
    if (own.empty()) own = c.scheduler;
    if (own.empty()) json.Fail("_class_name", "is missing");
    const std::optional<SamplerKind> sampler = SamplerOfScheduler(own);
    CheckClass(json, "_class_name", sampler ? "" : own,
               {"DPMSolverMultistepScheduler", "FlowMatchEulerDiscreteScheduler", "UniPCMultistepScheduler"});
    RETURN_IF_ERROR(json.FirstError());
    if (c.named_sampler && c.named_sampler != sampler) {
      return Error(
          c, "longtake.json", "sampler",
          absl::StrCat("is \"", SamplerName(*c.named_sampler), "\", but scheduler/scheduler_config.json is of ", own));
    }
    return *sampler;
  }
  if (c.named_sampler) return *c.named_sampler;
  if (by_default) return *by_default;
  return Error(c, "longtake.json", "sampler", "is missing");
}

}  // namespace longtake
