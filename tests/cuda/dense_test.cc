// How dense layers are planned, over all combinations of what a layer may ask for; and biases that are no bf16 numbers.
#include <string>
#include <vector>

#include "engine/core/float16.h"
#include "engine/cuda/cuda_ops.h"
#include "engine/cuda/dense_plan.h"
#include "engine/reference/reference_ops.h"
#include "gtest/gtest.h"
#include "tests/engine/ops_cases.h"

namespace longtake {
namespace {

using cuda::After;
using cuda::Before;
using cuda::ChooseDense;
using cuda::DenseLayer;
using cuda::DensePlan;
using cuda::OperandType;
using cuda::ProductEpilogue;
using enum Activation;

// Every combination; `f` is called with each.
template <typename F>
void ForEachLayer(F&& f) {
  for (const OperandType type : {OperandType::kBf16, OperandType::kE4m3, OperandType::kNvfp4}) {
    for (const int64_t outputs : {35, 40, 48, 4096}) {
      for (const Activation activation : {kNone, kSilu, kGeluTanh}) {
        for (int bits = 0; bits < 128; ++bits) {
          const DenseLayer layer = {.type = type,
                                    .outputs = outputs,
                                    .bias = (bits & 1) != 0,
                                    .x_aligned = (bits & 2) != 0,
                                    .y_aligned = (bits & 4) != 0,
                                    .y_f32 = (bits & 8) != 0,
                                    .add = (bits & 16) != 0,
                                    .activation = activation,
                                    .residual = (bits & 32) != 0,
                                    .gate = (bits & 64) != 0};
          // What ops/epilogue.h does not have.
          if ((layer.gate && !layer.residual) || (layer.residual && !layer.y_f32)) continue;
          f(layer);
        }
      }
    }
  }
}

// Whatever the plan leaves out or does twice is a wrong result, so what it does must be what the layer asks for.
TEST(DensePlan, DoesAllThatALayerAsksForAndNothingElse) {
  int layers = 0;
  ForEachLayer([&](const DenseLayer& layer) {
    ++layers;
    const DensePlan plan = ChooseDense(layer);
    if (layer.type != OperandType::kBf16) {
      EXPECT_EQ(plan.before, Before::kQuantize);
    } else {
      EXPECT_EQ(plan.before, layer.x_aligned ? Before::kNothing : Before::kPad);
    }
    // Sums are rounded only where they are scaled by a gate and added to something larger.
    EXPECT_EQ(plan.narrow_sums, plan.after == After::kEpilogue && layer.residual && layer.gate);
    if (plan.after == After::kEpilogue) {  // the kernel does all; the product must leave sums
      EXPECT_EQ(plan.product, ProductEpilogue::kNone);
      return;
    }
    EXPECT_TRUE(layer.y_aligned && layer.outputs % 16 == 0);
    EXPECT_FALSE(layer.add || layer.gate);
    const bool adds = plan.product == ProductEpilogue::kAdd || plan.product == ProductEpilogue::kAddBias;
    const bool biased = plan.product == ProductEpilogue::kBias || plan.product == ProductEpilogue::kBiasGelu ||
                        plan.product == ProductEpilogue::kAddBias;
    EXPECT_EQ(adds, layer.residual);
    EXPECT_EQ(biased, layer.bias);
    const Activation done = plan.product == ProductEpilogue::kBiasGelu ? kGeluTanh
                            : plan.after == After::kActivation         ? layer.activation
                                                                       : kNone;
    EXPECT_EQ(done, layer.activation);
    // An activation of stored values rounds before it, which only bf16 results may.
    EXPECT_FALSE(plan.after == After::kActivation && (layer.y_f32 || layer.residual));
  });
  EXPECT_GT(layers, 1000);
}

// The layers of a pass and of a prompt take the ways that their costs were counted for.
TEST(DensePlan, OfTheModelsLayers) {
  using enum ProductEpilogue;
  const struct {
    const char* name;
    DenseLayer layer;
    DensePlan plan;
  } kLayers[] = {
      {"q, k, v", {.outputs = 6720}, {Before::kNothing, ProductEpilogue::kNone, After::kNothing}},
      {"attention's output",
       {.outputs = 2240, .bias = true, .y_f32 = true, .residual = true, .gate = true},
       {Before::kNothing, ProductEpilogue::kNone, After::kEpilogue, /*narrow_sums=*/true}},
      {"cross-attention's q", {.outputs = 2240, .bias = true}, {Before::kNothing, kBias, After::kNothing}},
      {"cross-attention's output",
       {.outputs = 2240, .bias = true, .y_f32 = true, .residual = true},
       {Before::kNothing, kAddBias, After::kNothing}},
      {"the same in float8",
       {.type = OperandType::kE4m3, .outputs = 2240, .bias = true, .y_f32 = true, .residual = true},
       {Before::kQuantize, kAddBias, After::kNothing}},
      {"inverted", {.outputs = 13440, .bias = true}, {Before::kNothing, kBias, After::kNothing}},
      {"the gate of a wide FFN",
       {.outputs = 13440, .bias = true, .activation = kSilu},
       {Before::kNothing, kBias, After::kActivation}},
      {"point", {.outputs = 2240}, {Before::kNothing, ProductEpilogue::kNone, After::kNothing}},
      {"temporal",
       {.outputs = 2240, .y_f32 = true, .add = true, .residual = true, .gate = true},
       {Before::kNothing, ProductEpilogue::kNone, After::kEpilogue, /*narrow_sums=*/true}},
      {"timestep's first",
       {.outputs = 2240, .bias = true, .y_f32 = true, .activation = kSilu},
       {Before::kNothing, ProductEpilogue::kNone, After::kEpilogue}},
      {"caption's first",
       {.outputs = 2240, .bias = true, .activation = kGeluTanh},
       {Before::kNothing, kBiasGelu, After::kNothing}},
      {"patches of 33 inputs",
       {.outputs = 2240, .bias = true, .x_aligned = false, .y_f32 = true},
       {Before::kPad, kBias, After::kNothing}},
  };
  for (const auto& c : kLayers) EXPECT_EQ(ChooseDense(c.layer), c.plan) << c.name;
}

// 0.1 is no bf16 number. A product that takes bf16 biases gets it rounded, in every type and with every epilogue.
TEST(DenseBias, NeedsNotBeABf16Number) {
  constexpr int64_t kRows = 21, kInputs = 64, kOutputs = 48;
  for (const char* dtype : {"bfloat16", "float8", "nvfp4"}) {
    const auto made = MakeCudaOps({.dtype = dtype});
    if (absl::IsInvalidArgument(made.status())) continue;  // a type that this device lacks
    ASSERT_TRUE(made.ok()) << made.status();
    for (const float bias : {0.1f, -0.7f}) {
      for (const bool residual : {false, true}) {
        for (const Activation activation : {kNone, kGeluTanh}) {
          SCOPED_TRACE(testing::Message() << dtype << ", bias " << bias << (residual ? ", residual" : ""));
          const auto run = [&](Ops& ops) {
            Bench bench(ops);
            // Zero weights: every output is a function of the bias alone.
            const std::vector<float> weights(kOutputs * kInputs), biases(kOutputs, bias);
            const HostTensor weight{weights.data(), DType::kF32, {kOutputs, kInputs}};
            const HostTensor added{biases.data(), DType::kF32, {kOutputs}};
            const auto kernel = ops.weights().Pack({.outputs = kOutputs, .inputs = kInputs, .low_precision = true},
                                                   {&weight, 1}, {&added, 1});
            const Mat y = residual ? bench.Upload(Random(kRows * kOutputs, 4), kOutputs, DType::kF32)
                                   : bench.EmptyAct(kRows, kOutputs);
            ops.dense().Linear({.kernel = *kernel,
                                .x = bench.Act(Random(kRows * kInputs, 2), kInputs),
                                .epilogue = {.activation = activation, .residual = residual},
                                .y = y});
            return bench.Read(y);
          };
          EXPECT_LE(Error(run(*MakeReferenceOps()), run(**made)), 0x1p-8);
          EXPECT_TRUE((*made)->device().Synchronize().ok()) << (*made)->device().Synchronize();
        }
      }
    }
  }
}

}  // namespace
}  // namespace longtake
