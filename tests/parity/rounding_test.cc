// How near the transformer in bfloat16 is to float32, measured sharply enough to find an activation that is rounded
// once too often: such faults raise the error by a tenth to a third, which no single draw of rounding noise shows. The
// faults are put into the operations here, and must be found.
#include <bit>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/core/float16.h"
#include "engine/core/safetensors.h"
#include "engine/runner/modules.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/engine/forwarded_ops.h"
#include "tests/engine/temp_folder.h"
#include "tests/parity/rule.h"

namespace longtake {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr char kData[] = "tests/parity/data";

// Rounding of one float to bfloat16.
using Rounding = float (*)(float);
float Nearest(float x) { return BF16ToFloat(FloatToBF16(x)); }
float TowardsZero(float x) { return std::bit_cast<float>(std::bit_cast<uint32_t>(x) & 0xffff0000u); }

void RoundEach(Rounding rounding, float* values, int64_t count) {
  for (int64_t i = 0; i < count; ++i) values[i] = rounding(values[i]);
}
void RoundEach(Rounding rounding, const Mat& y) {
  for (int64_t row = 0; row < y.rows; ++row) RoundEach(rounding, static_cast<float*>(y.data) + row * y.stride, y.cols);
}

// What is wrong; the default is nothing.
struct Fault {
  bool rounds_residual = false;    // the residual stream is kept in bfloat16
  bool rounds_state = false;       // so is the state of linear attention
  bool truncates_outputs = false;  // a dense layer's output is cut to bfloat16 instead of rounded
  bool drops_gate = false;         // what a dense layer adds to the residual stream is not gated
};

class FaultyDense final : public ForwardedDense {
 public:
  FaultyDense(FamilyContext* context, DenseOps& to, OperationHook& hook, const Fault& fault)
      : ForwardedDense(context, to, hook), fault_(fault) {}

 private:
  void DoLinear(const LinearArgs& args) override {
    if (fault_.truncates_outputs && args.y.dtype == DType::kBF16) return Truncate(args);
    LinearArgs changed = args;
    if (fault_.drops_gate) changed.epilogue.gate = nullptr, changed.epilogue.mod_row = {};
    Call(&DenseOps::Linear, changed);
    if (fault_.rounds_residual && args.epilogue.residual) RoundEach(Nearest, args.y);
  }
  void Truncate(const LinearArgs& args) {
    const Mat& y = args.y;
    std::vector<float> exact(y.rows * y.cols);
    LinearArgs changed = args;
    changed.y = {exact.data(), DType::kF32, y.rows, y.cols, y.cols};
    Call(&DenseOps::Linear, changed);
    RoundEach(TowardsZero, changed.y);
    for (int64_t row = 0; row < y.rows; ++row) {
      for (int64_t col = 0; col < y.cols; ++col) {
        static_cast<uint16_t*>(y.data)[row * y.stride + col] = FloatToBF16(exact[row * y.cols + col]);
      }
    }
  }
  const Fault& fault_;
};

class FaultyConvolution final : public ForwardedConvolution {
 public:
  FaultyConvolution(FamilyContext* context, ConvolutionOps& to, OperationHook& hook, const Fault& fault)
      : ForwardedConvolution(context, to, hook), fault_(fault) {}

 private:
  void DoTemporalConv(const TemporalConvArgs& args) override {
    Call(&ConvolutionOps::TemporalConv, args);
    if (fault_.rounds_residual) RoundEach(Nearest, args.out);
  }
  const Fault& fault_;
};

class FaultyAttention final : public ForwardedAttention {
 public:
  FaultyAttention(FamilyContext* context, AttentionOps& to, OperationHook& hook, const Fault& fault)
      : ForwardedAttention(context, to, hook), fault_(fault) {}

 private:
  void DoLinearAttention(const LinearAttentionArgs& args) override {
    Call(&AttentionOps::LinearAttention, args);
    if (!fault_.rounds_state) return;
    for (const LinearAttentionSegment& segment : args.segments) {
      if (segment.S_out == nullptr) continue;
      RoundEach(Nearest, segment.S_out, int64_t{args.heads} * args.head_dim * args.head_dim);
      RoundEach(Nearest, segment.z_out, int64_t{args.heads} * args.head_dim);
    }
  }
  const Fault& fault_;
};

using Tensors = std::map<std::string, HostTensor>;

// The case's inputs with every float changed by about 1 %, so that each draw has roundings of its own; draw 0 is as is.
std::vector<std::vector<float>> Disturb(TensorStore& store, int draw, Tensors* inputs) {
  std::vector<std::vector<float>> values;
  std::mt19937 random(draw);
  std::normal_distribution<float> normal;
  for (const std::string& name : store.names()) {
    HostTensor t = *store.GetAny(name);
    if (draw > 0 && t.dtype == DType::kF32 && name != "timestep") {
      std::vector<float>& changed = values.emplace_back(ToFloats(t));
      for (float& x : changed) x *= 1 + 0.01f * normal(random);
      t.data = changed.data();
    }
    (*inputs)[name] = t;
  }
  return values;
}

// By module: the geometric mean of the ratios, over all outputs of its committed cases, of our error in bfloat16 to
// torch's. Ours is the root mean square over the draws, against what `exact` gives, which parity_test compares with
// torch.
std::map<std::string, double> MeanRatios(Ops& ops, Ops& exact) {
  const std::map<std::string, ModuleFunction> modules = {
      {"transformer", RunTransformer}, {"transformer_blocks", RunTransformerBlocks}, {"few_step", RunFewStep}};
  constexpr int kDraws = 12;
  const TempFolder folder;
  std::map<std::string, std::pair<double, int>> logs;
  for (const auto& entry : fs::directory_iterator(fs::path(kData) / "cases")) {
    std::ifstream file(entry.path() / "case.json");
    const Json description = Json::parse(file);
    const auto module = modules.find(description["module"].get<std::string>());
    if (module == modules.end()) continue;
    const ModuleRequest request{.model_dir = std::string(kData) + "/models/" + description["model"].get<std::string>()};
    TensorStore store = *TensorStore::OpenFile((entry.path() / "input.safetensors").string());
    std::map<std::string, double> squares;
    for (int draw = 0; draw < kDraws; ++draw) {
      Tensors disturbed;
      const std::vector<std::vector<float>> values = Disturb(store, draw, &disturbed);
      const std::string path = folder.path() + "/input.safetensors";
      EXPECT_TRUE(WriteSafetensors(path, disturbed).ok());
      TensorStore input = *TensorStore::OpenFile(path);
      ModuleInputs low(&input), high(&input);
      const auto made = module->second(ops, request, low), expected = module->second(exact, request, high);
      EXPECT_TRUE(made.ok() && expected.ok()) << made.status() << expected.status();
      if (!made.ok() || !expected.ok()) return {};
      for (const auto& [name, output] : *made) {
        const double error = ErrorsOf(output.values, expected->at(name).values).rms;
        squares[name] += error * error / kDraws;
      }
    }
    for (const auto& [name, square] : squares) {
      auto& [sum, outputs] = logs[module->first];
      sum += std::log(std::sqrt(square) / description["torch_bfloat16_error"][name]["rms"].get<double>());
      ++outputs;
    }
  }
  std::map<std::string, double> means;
  for (const auto& [module, sum] : logs) means[module] = std::exp(sum.first / sum.second);
  return means;
}

// What the engine reaches, in units of torch's error. It is below 1 because the residual stream, sums, norms and states
// are float32 here. The noise of a mean is 2 to 3 %, with twelve draws on this side and eight on torch's. A change that
// breaks kTolerance rounds more than before: it needs a reason, and new numbers here.
constexpr double kReachedFewStep = 0.61, kReachedTransformer = 0.61, kReachedBlocks = 0.52;
constexpr double kTolerance = 1.1;

class ParityRounding : public ::testing::Test {
 protected:
  void SetUp() override {
    auto ops = MakeBackend({.backend = "cpu", .dtype = "bfloat16", .threads = 1});
    if (!ops.ok()) GTEST_SKIP() << "this machine does not multiply bfloat16: " << ops.status();
    ops_ = *std::move(ops);
    exact_ = *MakeBackend({.backend = "cpu", .dtype = "float32", .threads = 1});
  }

  // The modules whose error is too large.
  std::set<std::string> Found(const Fault& fault) {
    OperationHook hook;
    ForwardedOps::Parts parts = ForwardedParts(*ops_, hook);
    FamilyContext* const context = parts.context.get();
    parts.dense = std::make_unique<FaultyDense>(context, ops_->dense(), hook, fault);
    parts.convolution = std::make_unique<FaultyConvolution>(context, ops_->convolution(), hook, fault);
    parts.attention = std::make_unique<FaultyAttention>(context, ops_->attention(), hook, fault);
    ForwardedOps faulty(std::move(parts));
    std::set<std::string> found;
    for (const auto& [module, mean] : MeanRatios(faulty, *exact_)) {
      std::printf("%s: %.3f of torch's error\n", module.c_str(), mean);
      const double reached = module == "few_step"      ? kReachedFewStep
                             : module == "transformer" ? kReachedTransformer
                                                       : kReachedBlocks;
      if (mean > kTolerance * reached) found.insert(module);
    }
    return found;
  }

  std::unique_ptr<Ops> ops_, exact_;
};

using Modules = std::set<std::string>;

TEST_F(ParityRounding, IsAsReached) { EXPECT_EQ(Found({}), Modules{}); }

TEST_F(ParityRounding, ARoundedResidualStreamIsFound) {
  EXPECT_EQ(Found({.rounds_residual = true}), (Modules{"few_step", "transformer"}));
}

TEST_F(ParityRounding, ARoundedStateIsFound) {
  EXPECT_EQ(Found({.rounds_state = true}), Modules{"transformer_blocks"});
}

TEST_F(ParityRounding, TruncatedOutputsAreFound) {
  EXPECT_EQ(Found({.truncates_outputs = true}), (Modules{"few_step", "transformer_blocks"}));
}

TEST_F(ParityRounding, AMissingGateIsFound) {
  EXPECT_EQ(Found({.drops_gate = true}), (Modules{"few_step", "transformer", "transformer_blocks"}));
}

}  // namespace
}  // namespace longtake
