// Low-rank terms of the cpu backend, on each instruction set and type that this machine has, against the reference, and
// their bytes in other batches and at other thread counts. They are no cases of ops_cases.h, which backends without
// low-rank terms run too.
#include <memory>
#include <string>
#include <vector>

#include "engine/reference/reference_ops.h"
#include "gtest/gtest.h"
#include "tests/engine/cpu_ops_fixture.h"
#include "tests/engine/ops_cases.h"

namespace longtake {
namespace {

// Terms of groups of rows: group 0 has none, group 1 one, group 2 three of different ranks, of which two cover some
// columns only. 70 outputs make two panels; the columns begin and end inside of them.
class Terms {
 public:
  Terms(Ops& ops, const KernelShape& kernel, Values values) {
    Add(ops, kernel, 8, 0, kernel.outputs, 20, values);
    Add(ops, kernel, 1, 3, kernel.outputs - 5, 30, values);
    Add(ops, kernel, 37, kernel.outputs / 2, kernel.outputs - kernel.outputs / 2, 40, values);
  }
  void Use(int group, int64_t first_row, int64_t rows) {
    for (size_t i = 0; i < pairs_.size(); ++i) {
      if (group == 0 || (group == 1 && i > 0)) continue;
      const Pair& p = pairs_[i];
      terms_.push_back({.a = p.a.get(),
                        .b = p.b.get(),
                        .scale = group == 1 ? -0.5f : 2.f,
                        .first_row = first_row,
                        .rows = rows,
                        .first_column = p.first,
                        .columns = p.columns});
    }
  }
  const std::vector<LowRankTerm>& terms() const { return terms_; }

 private:
  struct Pair {
    std::unique_ptr<PackedKernel> a, b;
    int64_t first, columns;
  };
  void Add(Ops& ops, KernelShape kernel, int64_t rank, int64_t first, int64_t columns, int stream, Values values) {
    const int64_t outputs = kernel.outputs;
    kernel.outputs = rank;
    Bench bench(ops);
    auto a = bench.Kernel(kernel, stream, /*bias=*/false, values);
    std::vector<float> b(outputs * rank, 0.f);
    const std::vector<float> inner = Draw(values, columns * rank, stream + 1);
    std::copy(inner.begin(), inner.end(), b.begin() + first * rank);
    const HostTensor tensor = {b.data(), DType::kF32, {outputs, rank}};
    pairs_.push_back(
        {std::move(a), ops.weights().Pack({.outputs = outputs, .inputs = rank}, {&tensor, 1}, {}), first, columns});
  }
  std::vector<Pair> pairs_;
  std::vector<LowRankTerm> terms_;
};

GroupResults RunLinear(Ops& ops, const Groups& groups, Activation activation, bool residual, bool act_out,
                       Values values) {
  constexpr int64_t kInputs = 67, kOutputs = 70;
  Bench bench(ops);
  const Mat x = bench.Act(Concatenate(groups, [&](int g) { return Draw(values, RowsOf(g) * kInputs, 1, g); }), kInputs);
  const DType type = act_out ? ops.activation_type() : DType::kF32;
  const Mat y = bench.Upload(Concatenate(groups, [&](int g) { return Draw(values, RowsOf(g) * kOutputs, 2, g); }),
                             kOutputs, type);
  const KernelShape shape{.outputs = kOutputs, .inputs = kInputs};
  const auto kernel = bench.Kernel(shape, 3, true, values);
  Terms terms(ops, shape, values);
  std::vector<int32_t> mod;
  for (const int g : groups) {
    terms.Use(g, static_cast<int64_t>(mod.size()), RowsOf(g));
    for (int64_t r = 0; r < RowsOf(g); ++r) mod.push_back(static_cast<int32_t>((r + g) % 3));
  }
  Epilogue e{.activation = activation, .residual = residual};
  if (residual) {
    e.gate = bench.Floats(Draw(values, 3 * kOutputs, 4));
    e.gate_stride = kOutputs;
    e.mod_row = mod;
  }
  ops.dense().Linear({.kernel = *kernel, .x = x, .low_rank = terms.terms(), .epilogue = e, .y = y});
  return Cut(groups, bench.Read(y), [&](int g) { return RowsOf(g) * kOutputs; });
}

GroupResults RunTemporal(Ops& ops, const Groups& groups) {
  constexpr int64_t kWidth = 70;
  Bench bench(ops);
  const KernelShape shape{.outputs = kWidth, .inputs = kWidth, .kt = 3};
  const auto kernel = bench.Kernel(shape, 1, false);
  const Mat x = bench.Act(Concatenate(groups, [&](int g) { return Random(TokensOf(g) * kWidth, 2, g); }), kWidth);
  const Mat h =
      bench.Upload(Concatenate(groups, [&](int g) { return Random(TokensOf(g) * kWidth, 3, g); }), kWidth, DType::kF32);
  const std::vector<Segment> segments = Segments(groups);
  Terms terms(ops, shape, Values::kNormal);
  std::vector<ConstMat> tails;
  for (size_t i = 0; i < groups.size(); ++i) {
    const Segment& s = segments[i];
    terms.Use(groups[i], s.first_row, s.rows());
    const int64_t pixels = int64_t{s.height} * s.width;
    tails.push_back(groups[i] == 1 ? ConstMat{} : bench.Act(Random(pixels * kWidth, 4, groups[i]), kWidth));
  }
  ops.convolution().TemporalConv({.kernel = *kernel,
                                  .x = x,
                                  .low_rank = terms.terms(),
                                  .segments = segments,
                                  .tails = tails,
                                  .epilogue = {.residual = true},
                                  .out = h});
  return Cut(groups, bench.Read(h), [&](int g) { return TokensOf(g) * kWidth; });
}

std::vector<OpsCase> Cases() {
  std::vector<OpsCase> cases;
  const auto linear = [&](const std::string& name, Activation activation, bool residual, bool act_out) {
    cases.push_back({name, 3, [=](Ops& ops, const Groups& groups) {
                       return RunLinear(ops, groups, activation, residual, act_out, Values::kNormal);
                     }});
  };
  linear("linear", Activation::kNone, false, true);
  linear("linear_f32", Activation::kNone, false, false);
  linear("linear_silu", Activation::kSilu, false, true);
  linear("linear_gated_residual", Activation::kNone, true, false);
  cases.push_back({"temporal", 3, RunTemporal});
  return cases;
}

using LowRankOpsTest = CpuOpsFixture;

TEST_P(LowRankOpsTest, EqualsReference) {
  const auto reference = MakeReferenceOps();
  for (const OpsCase& c : Cases()) {
    const GroupResults expected = c.run(*reference, AllGroups(c)), actual = c.run(*ops_, AllGroups(c));
    for (const auto& [group, values] : expected) {
      EXPECT_LE(Error(values, actual.at(group)), ErrorBound(GetParam())) << c.name << ", group " << group;
    }
  }
}

TEST_P(LowRankOpsTest, BatchAndThreadsChangeNoByte) {
  for (const OpsCase& c : Cases()) ExpectBatchAndThreadsChangeNoByte(c);
}

// Rows without terms have the bytes that they have in a product without any.
TEST_P(LowRankOpsTest, OtherRowsAreUntouched) {
  for (const bool act_out : {false, true}) {
    const Groups groups = {0, 1, 2};
    const GroupResults with = RunLinear(*ops_, groups, Activation::kSilu, false, act_out, Values::kNormal);
    const GroupResults without = RunLinear(*ops_, {0}, Activation::kSilu, false, act_out, Values::kNormal);
    EXPECT_TRUE(SameBytes(with.at(0), without.at(0)));
  }
}

// Sums of whole numbers are exact, so every instruction set has the reference's bytes.
TEST_P(LowRankOpsTest, WholeNumbersAreExact) {
  if (std::string(GetParam().dtype) != "float32") GTEST_SKIP() << "t is rounded to bfloat16";
  const auto reference = MakeReferenceOps();
  const Groups groups = {0, 1, 2};
  const auto run = [&](Ops& ops) { return RunLinear(ops, groups, Activation::kNone, true, false, Values::kWhole); };
  const GroupResults expected = run(*reference), actual = run(*ops_);
  for (const int g : groups) EXPECT_TRUE(SameBytes(expected.at(g), actual.at(g))) << "group " << g;
}

INSTANTIATE_TEST_SUITE_P(Cpu, LowRankOpsTest, testing::ValuesIn(kCpuBackends),
                         [](const auto& info) { return Name(info.param); });

}  // namespace
}  // namespace longtake
