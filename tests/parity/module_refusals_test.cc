// longtake-module refuses inputs that contradict themselves or the model, by name, and never ends by a signal.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/core/safetensors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/engine/temp_folder.h"

namespace longtake {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using Tensors = std::map<std::string, HostTensor>;

constexpr char kModel[] = "tests/parity/data/models/causal_sum";
constexpr char kInput[] = "tests/parity/data/cases/causal_sum_few_step/input.safetensors";

struct Outcome {
  int status = 0;  // as wait() gives it
  std::string text;
};

class ModuleRefusals : public ::testing::Test {
 protected:
  ModuleRefusals() : input_(*TensorStore::OpenFile(kInput)) {
    for (const std::string& name : input_.names()) tensors_[name] = *input_.GetAny(name);
  }

  Outcome RunFewStep(const std::string& model, const std::vector<std::string>& more = {}) const {
    const std::string input = folder_.path() + "/input.safetensors";
    EXPECT_TRUE(WriteSafetensors(input, tensors_).ok());
    std::string command = absl::StrCat(LONGTAKE_MODULE, " --model ", model, " --module few_step --input ", input,
                                       " --output ", folder_.path(), "/out.safetensors");
    for (const std::string& argument : more) absl::StrAppend(&command, " ", argument);
    Outcome outcome;
    std::FILE* pipe = popen((command + " 2>&1").c_str(), "r");
    for (int c; pipe != nullptr && (c = std::fgetc(pipe)) != EOF;) outcome.text += static_cast<char>(c);
    outcome.status = pipe == nullptr ? -1 : pclose(pipe);
    return outcome;
  }
  void ExpectRefused(const Outcome& outcome, const std::string& names) const {
    ASSERT_TRUE(WIFEXITED(outcome.status)) << outcome.text;
    EXPECT_EQ(WEXITSTATUS(outcome.status), 1) << outcome.text;
    EXPECT_THAT(outcome.text, HasSubstr(names));
  }

  TempFolder folder_;
  TensorStore input_;
  Tensors tensors_;
};

TEST_F(ModuleRefusals, IntactRuns) { EXPECT_EQ(RunFewStep(kModel).status, 0) << RunFewStep(kModel).text; }

TEST_F(ModuleRefusals, MissingTensorsAreNamed) {
  for (const auto& [name, tensor] : Tensors(tensors_)) {
    if (name == "block_lengths") continue;  // optional
    tensors_.erase(name);
    ExpectRefused(RunFewStep(kModel), name);
    tensors_[name] = tensor;
  }
}

TEST_F(ModuleRefusals, BlockLengthsMustBeTheFrames) {
  for (const std::vector<int64_t>& lengths : std::vector<std::vector<int64_t>>{
           {0}, {-1}, {1}, {1'000'000}, {INT64_MAX, INT64_MAX}, {INT64_MIN, INT64_MIN}, {INT64_MAX, 1, INT64_MIN}}) {
    tensors_["block_lengths"] = {lengths.data(), DType::kI64, {static_cast<int64_t>(lengths.size())}};
    ExpectRefused(RunFewStep(kModel), "block_lengths");
  }
}

TEST_F(ModuleRefusals, CaptionsAreOneSample) {
  const HostTensor states = tensors_["encoder_hidden_states"], mask = tensors_["encoder_attention_mask"];
  const std::vector<float> twice(2 * states.elements(), 1.f);
  const std::vector<int64_t> mask_twice(2 * mask.elements(), 1);
  tensors_["encoder_hidden_states"] = {twice.data(), DType::kF32, {2, states.shape[1], states.shape[2]}};
  tensors_["encoder_attention_mask"] = {mask_twice.data(), DType::kI64, {2, mask.shape[1]}};
  ExpectRefused(RunFewStep(kModel), "encoder_hidden_states");
}

// A velocity of more channels than the latents have would be written behind their buffer.
TEST_F(ModuleRefusals, SamplersNeedEqualChannels) {
  const fs::path model = fs::path(folder_.path()) / "model";
  fs::create_directories(model / "transformer");
  fs::copy_file(fs::path(kModel) / "longtake.json", model / "longtake.json");
  std::ifstream file(fs::path(kModel) / "transformer/config.json");
  nlohmann::json config = nlohmann::json::parse(file);
  const int64_t channels = config["out_channels"];
  config["out_channels"] = 4 * channels;
  std::ofstream(model / "transformer/config.json") << config.dump();

  TensorStore store = *TensorStore::Open(absl::StrCat(kModel, "/transformer"), "diffusion_pytorch_model");
  Tensors weights;
  for (const std::string& name : store.names()) weights[name] = *store.GetAny(name);
  std::map<std::string, std::vector<float>> wide;
  for (const char* name : {"proj_out.weight", "proj_out.bias"}) {
    HostTensor& t = weights.at(name);
    t.shape[0] *= 4;
    wide[name].assign(t.elements(), 0.5f);
    t.data = wide[name].data();
    t.dtype = DType::kF32;
  }
  ASSERT_TRUE(WriteSafetensors((model / "transformer/diffusion_pytorch_model.safetensors").string(), weights).ok());
  ExpectRefused(RunFewStep(model.string()), "out_channels");
}

TEST_F(ModuleRefusals, OptionsAreNamed) {
  ExpectRefused(RunFewStep(kModel, {"--threads", "1000000000"}), "threads");
  ExpectRefused(RunFewStep(kModel, {"--isa", "neon"}), "isa");
  ExpectRefused(RunFewStep("/nonexistent"), "/nonexistent");
}

}  // namespace
}  // namespace longtake
