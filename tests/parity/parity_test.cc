// longtake-module against what diffusers and transformers computed: every case of tests/parity/data, on every backend,
// type and instruction set that this machine has; the cuda backend on the host's emulation (tests/cuda), or, with
// LONGTAKE_DEVICE_MODULE in the environment naming a runner, on a device and nothing else. tools/export/folder.py
// describes the cases, tools/parity.py does the same for any exported folder.
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "engine/core/safetensors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/parity/rule.h"

namespace longtake {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr char kData[] = "tests/parity/data";

struct Numerics {
  std::string backend, dtype, isa;
};

struct Case {
  std::string name;
  Numerics numerics;
};

std::string DeviceModule() {
  const char* path = std::getenv("LONGTAKE_DEVICE_MODULE");
  return path == nullptr ? "" : path;
}

// The program that runs a backend; empty where it was not built.
std::string Module(const std::string& backend) {
  if (backend != "cuda") return LONGTAKE_MODULE;
  return DeviceModule().empty() ? LONGTAKE_EMULATION_MODULE : DeviceModule();
}

bool MachineHas(const std::string& isa) {
  if (isa == "auto") return true;
  if (isa == "avx2") return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (isa == "avx512") return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
  return __builtin_cpu_supports("avx512bf16");
}

std::vector<Case> Cases() {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(fs::path(kData) / "cases")) names.insert(entry.path().filename());
  std::vector<Numerics> all = {{"cuda", "bfloat16", "auto"}};
  if (DeviceModule().empty()) {
    all.insert(all.end(), {{"reference", "float32", "auto"},
                           {"cpu", "float32", "avx2"},
                           {"cpu", "float32", "avx512"},
                           {"cpu", "bfloat16", "avx512_bf16"}});
  }
  std::vector<Case> cases;
  for (const std::string& name : names) {
    for (const Numerics& n : all) cases.push_back({name, n});
  }
  return cases;
}

// Runs the program and returns its exit status; -1 when it could not be started or ended by a signal.
int RunProgram(std::vector<std::string> arguments) {
  std::vector<char*> argv;
  for (std::string& a : arguments) argv.push_back(a.data());
  argv.push_back(nullptr);
  pid_t child = 0;
  if (posix_spawn(&child, argv[0], nullptr, nullptr, argv.data(), environ) != 0) return -1;
  int status = 0;
  if (waitpid(child, &status, 0) != child || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status);
}

std::vector<float> Floats(const HostTensor& t) {
  const auto* data = static_cast<const float*>(t.data);
  return {data, data + t.elements()};
}

// The rows whose mask is set; all of them without a mask. Masks are i64 among the inputs and f32 among the outputs.
std::vector<float> ValidRows(const std::vector<float>& values, const HostTensor* mask) {
  if (mask == nullptr) return values;
  const size_t rows = mask->elements(), width = values.size() / rows;
  std::vector<float> kept;
  for (size_t row = 0; row < rows; ++row) {
    const bool valid = mask->dtype == DType::kF32 ? static_cast<const float*>(mask->data)[row] != 0
                                                  : static_cast<const int64_t*>(mask->data)[row] != 0;
    if (valid) kept.insert(kept.end(), values.begin() + row * width, values.begin() + (row + 1) * width);
  }
  return kept;
}

class ParityTest : public testing::TestWithParam<Case> {
 protected:
  static void TearDownTestSuite() {
    for (const auto& [backend, ratios] : ratios_) {
      for (const auto& [group, mean] : ratios.FaultyGroups()) {
        ADD_FAILURE() << backend << ": the bfloat16 errors of module " << group << " are " << mean << " of torch's";
      }
    }
    ratios_.clear();
  }

  static inline std::map<std::string, Bfloat16Ratios> ratios_;  // by backend
};

TEST_P(ParityTest, WithinBounds) {
  const Numerics& numerics = GetParam().numerics;
  if (!MachineHas(numerics.isa)) GTEST_SKIP() << "this machine has no " << numerics.isa;
  if (Module(numerics.backend).empty()) GTEST_SKIP() << "no " << numerics.backend << " runner in this build";
  const std::string folder = std::string(kData) + "/cases/" + GetParam().name;
  std::ifstream file(folder + "/case.json");
  const Json description = Json::parse(file);
  const std::string output = testing::TempDir() + "/parity_" + std::to_string(getpid()) + ".safetensors";
  std::vector<std::string> command = {Module(numerics.backend),
                                      "--model",
                                      std::string(kData) + "/models/" + description["model"].get<std::string>(),
                                      "--module",
                                      description["module"],
                                      "--backend",
                                      numerics.backend,
                                      "--dtype",
                                      numerics.dtype,
                                      "--isa",
                                      numerics.isa,
                                      "--output",
                                      output};
  for (const Json& argument : description["arguments"]) command.push_back(argument);
  const bool has_input = fs::exists(folder + "/input.safetensors");
  if (has_input) command.insert(command.end(), {"--input", folder + "/input.safetensors"});
  ASSERT_EQ(RunProgram(command), 0);

  auto expected = TensorStore::OpenFile(folder + "/expected.safetensors");
  ASSERT_TRUE(expected.ok()) << expected.status();
  auto actual = TensorStore::OpenFile(output);
  ASSERT_TRUE(actual.ok()) << actual.status();
  auto inputs = TensorStore::OpenFile(folder + (has_input ? "/input.safetensors" : "/expected.safetensors"));
  ASSERT_TRUE(inputs.ok()) << inputs.status();
  EXPECT_THAT(actual->names(), testing::UnorderedElementsAreArray(expected->names()));
  for (const std::string& name : expected->names()) {
    const HostTensor reference = *expected->GetAny(name);
    const auto made = actual->Get(name, reference.shape);
    ASSERT_TRUE(made.ok()) << made.status();
    HostTensor mask;
    const HostTensor* valid = nullptr;
    if (const auto it = description["valid_rows"].find(name); it != description["valid_rows"].end()) {
      const std::string mask_name = it->get<std::string>();
      mask = *(inputs->Has(mask_name) ? inputs : expected)->GetAny(mask_name);
      valid = &mask;
    }
    const RelativeErrors errors = ErrorsOf(ValidRows(Floats(*made), valid), ValidRows(Floats(reference), valid));
    const bool exact = name == "input_ids" || name == "encoder_attention_mask";
    if (numerics.dtype == "bfloat16" && !exact) {
      const Json& torch = description["torch_bfloat16_error"][name];
      EXPECT_EQ(ratios_[numerics.backend].Add(description["module"], errors, torch), "") << name;
    } else {
      EXPECT_LE(errors.max, exact ? 0 : description["float32_bound"].get<double>()) << name;
    }
  }
  fs::remove(output);
}

INSTANTIATE_TEST_SUITE_P(Committed, ParityTest, testing::ValuesIn(Cases()), [](const auto& info) {
  const Case& c = info.param;
  return c.name + "_" + c.numerics.backend + "_" + c.numerics.dtype + "_" + c.numerics.isa;
});

// Every module has a case: a folder that was not checked out must not pass unseen.
TEST(ParityData, HoldsEveryModule) {
  std::set<std::string> modules;
  for (const Case& c : Cases()) {
    std::ifstream file(std::string(kData) + "/cases/" + c.name + "/case.json");
    modules.insert(Json::parse(file)["module"].get<std::string>());
  }
  EXPECT_THAT(modules,
              testing::UnorderedElementsAre("caption", "tokenizer", "text_encoder", "transformer", "transformer_blocks",
                                            "few_step", "bidirectional", "vae_decoder", "vae_encoder"));
}

}  // namespace
}  // namespace longtake
