// Products of int8 on the cpu backend: what they are of, by the reference, and that no byte depends on the batch.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "engine/cpu/cpu_ops.h"
#include "engine/reference/reference_ops.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/cpu_ops_fixture.h"
#include "tests/engine/ops_cases.h"

namespace longtake {
namespace {

using ::testing::HasSubstr;

struct Layer {
  int64_t inputs, outputs;
  bool bias = true, residual = false, gate = false;
  Activation activation = Activation::kNone;
  bool gated = false;  // LinearGated, of twice as many weights
  bool low_rank = false;
};

// Tiles of 64, 48 and fewer outputs, inputs that are no multiple of 4, and panels that exceed the L2 cache.
const std::vector<Layer> kLayers = {{.inputs = 64, .outputs = 64},
                                    {.inputs = 71, .outputs = 33, .bias = false},
                                    {.inputs = 6720, .outputs = 70, .residual = true, .gate = true},
                                    {.inputs = 130, .outputs = 96, .bias = false, .residual = true},
                                    {.inputs = 40, .outputs = 144, .activation = Activation::kSilu},
                                    {.inputs = 3, .outputs = 1},
                                    {.inputs = 67, .outputs = 40, .activation = Activation::kGeluTanh, .gated = true},
                                    {.inputs = 64, .outputs = 70, .low_rank = true}};

// The definition: each row of `columns` numbers as whole multiples, from -127 to 127, of its largest magnitude / 127.
std::vector<float> Rounded(std::vector<float> values, int64_t columns) {
  for (auto row = values.begin(); row != values.end(); row += columns) {
    float largest = 0;
    for (auto v = row; v != row + columns; ++v) largest = std::max(largest, std::abs(*v));
    if (largest == 0) continue;
    for (auto v = row; v != row + columns; ++v) *v = std::nearbyint(*v * (127 / largest)) * (largest / 127);
  }
  return values;
}

enum class Round { kNo, kYes };

GroupResults RunLayer(Ops& ops, const Layer& c, const Groups& groups, Round round) {
  const auto rounded = [&](const std::vector<float>& values) {
    return round == Round::kYes ? Rounded(values, c.inputs) : values;
  };
  Bench bench(ops);
  // The rounded numbers are no bf16 numbers, so only the reference is given them.
  const Mat x =
      bench.Act(rounded(Concatenate(groups, [&](int g) { return UnequalRows(RowsOf(g), c.inputs, 2, g); })), c.inputs);
  const auto weights = [&](int stream) { return rounded(Random(c.outputs * c.inputs, stream, 0, 0.1f)); };
  const std::vector<float> w = weights(3), up = weights(6), bias = Random(c.outputs, 7);
  const std::vector<int64_t> dims = {c.outputs, c.inputs};
  const HostTensor w_tensor{w.data(), DType::kF32, dims}, up_tensor{up.data(), DType::kF32, dims};
  const HostTensor bias_tensor{bias.data(), DType::kF32, {c.outputs}};
  const KernelShape shape{.outputs = c.outputs, .inputs = c.inputs, .low_precision = true};
  const auto count = [&](int g) { return RowsOf(g) * c.outputs; };
  const Mat y =
      bench.Upload(Concatenate(groups, [&](int g) { return Random(count(g), 4, g); }), c.outputs, DType::kF32);
  if (c.gated) {
    const auto kernel = ops.weights().PackGated(shape, w_tensor, up_tensor);
    ops.dense().LinearGated({.kernel = *kernel, .x = x, .activation = c.activation, .y = y});
    return Cut(groups, bench.Read(y), count);
  }
  const auto kernel = ops.weights().Pack(shape, {&w_tensor, 1}, {&bias_tensor, c.bias ? size_t{1} : size_t{0}});
  const auto a = bench.Kernel({.outputs = 5, .inputs = c.inputs}, 8, false);
  const auto b = bench.Kernel({.outputs = c.outputs, .inputs = 5}, 9, false);
  std::vector<LowRankTerm> terms;
  std::vector<int32_t> mod;
  for (const int g : groups) {
    const auto first = static_cast<int64_t>(mod.size());
    if (c.low_rank && g != 1) {
      terms.push_back({a.get(), b.get(), 0.5f, first, RowsOf(g), 0, c.outputs});
    }
    for (int64_t r = 0; r < RowsOf(g); ++r) mod.push_back(static_cast<int32_t>((r + g) % 3));
  }
  Epilogue e{.activation = c.activation, .residual = c.residual};
  if (c.gate) {
    e.gate = bench.Floats(Random(3 * c.outputs, 5));
    e.gate_stride = c.outputs;
    e.mod_row = mod;
  }
  ops.dense().Linear({.kernel = *kernel, .x = x, .low_rank = terms, .epilogue = e, .y = y});
  return Cut(groups, bench.Read(y), count);
}

using Int8Test = CpuOpsFixture;

INSTANTIATE_TEST_SUITE_P(Cpu, Int8Test,
                         testing::Values(CpuBackend{"avx512_vnni", "int8"}, CpuBackend{"avx512_bf16", "int8"},
                                         CpuBackend{"amx_emulated", "int8"}, CpuBackend{"amx_bf16", "int8"}),
                         [](const auto& info) { return Name(info.param); });

// Sums of whole numbers are exact; what is left is the rounding of the epilogue, and of the reference's sums of up to
// 6720 terms.
TEST_P(Int8Test, ProductsAreThoseOfRoundedRowsAndWeights) {
  const auto reference = MakeReferenceOps();
  for (const Layer& c : kLayers) {
    if (c.low_rank) continue;  // its terms are of rows that are not rounded
    const GroupResults actual = RunLayer(*ops_, c, {0, 1, 2}, Round::kNo);
    for (const auto& [group, values] : RunLayer(*reference, c, {0, 1, 2}, Round::kYes)) {
      EXPECT_LE(RowError(values, actual.at(group), c.outputs), 2e-5) << c.inputs << " inputs, group " << group;
    }
  }
}

// Some inputs are eight times the others, which are rounded to a quarter of their size then: errors of some hundredths.
TEST_P(Int8Test, RoundingCostsSomeHundredths) {
  const auto reference = MakeReferenceOps();
  for (const Layer& c : kLayers) {
    if (c.inputs < 40) continue;  // few terms, which may nearly cancel out
    const GroupResults actual = RunLayer(*ops_, c, {0, 1, 2}, Round::kNo);
    for (const auto& [group, values] : RunLayer(*reference, c, {0, 1, 2}, Round::kNo)) {
      EXPECT_FALSE(SameBytes(values, actual.at(group))) << c.inputs << " inputs: nothing was rounded";
      EXPECT_LE(RowError(values, actual.at(group), c.outputs), 0.15) << c.inputs << " inputs, group " << group;
    }
  }
}

TEST_P(Int8Test, BatchAndThreadsChangeNoByte) {
  for (const Layer& c : kLayers) {
    ExpectBatchAndThreadsChangeNoByte({std::to_string(c.inputs) + " inputs", 3, [&](Ops& ops, const Groups& groups) {
                                         return RunLayer(ops, c, groups, Round::kNo);
                                       }});
  }
}

TEST_P(Int8Test, TermsOfLowRankAreAdded) {
  const auto reference = MakeReferenceOps();
  Layer with = {.inputs = 64, .outputs = 70, .bias = false, .low_rank = true}, without = with;
  without.low_rank = false;
  const auto terms = [&](Ops& ops, int group) {
    std::vector<float> a = RunLayer(ops, with, {0, 1, 2}, Round::kNo).at(group);
    const std::vector<float> b = RunLayer(ops, without, {0, 1, 2}, Round::kNo).at(group);
    for (size_t i = 0; i < a.size(); ++i) a[i] -= b[i];
    return a;
  };
  for (const int group : {0, 2}) {
    // In bfloat16, x A^T is rounded to it, to 2^-9 of its size, and is a sum of five in each result.
    const double bound = ops_->activation_type() == DType::kF32 ? 4e-6 : 0x1p-7;
    EXPECT_LE(Error(terms(*reference, group), terms(*ops_, group)), bound);
  }
  const std::vector<float> none = terms(*ops_, 1);
  EXPECT_TRUE(std::all_of(none.begin(), none.end(), [](float v) { return v == 0; }));
}

TEST_P(Int8Test, WhatIsNotFiniteStaysInItsRow) {
  constexpr int64_t kRows = 5, kInputs = 40, kOutputs = 20;
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Bench bench(*ops_);
    const auto kernel = bench.Kernel({.outputs = kOutputs, .inputs = kInputs, .low_precision = true}, 1, true);
    std::vector<float> inputs = Random(kRows * kInputs, 2);
    const Mat clean = bench.EmptyAct(kRows, kOutputs), y = bench.EmptyAct(kRows, kOutputs);
    ops_->dense().Linear({.kernel = *kernel, .x = bench.Act(inputs, kInputs), .y = clean});
    inputs[2 * kInputs + 39] = bad;
    ops_->dense().Linear({.kernel = *kernel, .x = bench.Act(inputs, kInputs), .y = y});
    const std::vector<float> expected = bench.Read(clean), actual = bench.Read(y);
    for (int64_t i = 0; i < kRows * kOutputs; ++i) {
      if (i / kOutputs == 2) {
        EXPECT_TRUE(std::isnan(actual[i])) << bad;
      } else {
        EXPECT_EQ(actual[i], expected[i]) << bad;
      }
    }
  }
}

// A weight that is not finite makes its own output so.
TEST_P(Int8Test, AWeightThatIsNotFiniteIsSeen) {
  constexpr int64_t kInputs = 40, kOutputs = 20;
  std::vector<float> w = Random(kOutputs * kInputs, 1);
  w[7 * kInputs + 1] = std::numeric_limits<float>::infinity();
  const HostTensor tensor{w.data(), DType::kF32, {kOutputs, kInputs}};
  Bench bench(*ops_);
  const auto kernel =
      ops_->weights().Pack({.outputs = kOutputs, .inputs = kInputs, .low_precision = true}, {&tensor, 1}, {});
  const Mat y = bench.EmptyAct(3, kOutputs);
  ops_->dense().Linear({.kernel = *kernel, .x = bench.Act(Random(3 * kInputs, 2), kInputs), .y = y});
  const std::vector<float> results = bench.Read(y);
  for (int64_t i = 0; i < 3 * kOutputs; ++i) EXPECT_EQ(std::isnan(results[i]), i % kOutputs == 7);
}

TEST_P(Int8Test, TakesAQuarterOfTheMemory) {
  Bench bench(*ops_);
  const auto wide = bench.Kernel({.outputs = 640, .inputs = 2240}, 1, true);
  const auto narrow = bench.Kernel({.outputs = 640, .inputs = 2240, .low_precision = true}, 1, true);
  const double share = ops_->activation_type() == DType::kF32 ? 0.25 : 0.5;
  EXPECT_NEAR(static_cast<double>(narrow->bytes()) / static_cast<double>(wide->bytes()), share, 0.01);
}

TEST(Int8, IsRefusedWithoutItsInstructions) {
  const auto ops = MakeCpuOps({.isa = "avx2", .dtype = "int8"});
  ASSERT_FALSE(ops.ok());
  EXPECT_THAT(std::string(ops.status().message()),
              HasSubstr("dtype: int8 needs isa avx512_vnni, and this is cpu/avx2"));
}

}  // namespace
}  // namespace longtake
