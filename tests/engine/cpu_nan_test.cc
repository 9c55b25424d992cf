// What is not a number stays so: the cpu backend's results are not numbers exactly where the reference's are not. A
// maximum or a clamp that drops one would turn a broken model into plausible pictures.
#include <cmath>
#include <functional>
#include <vector>

#include "engine/reference/reference_ops.h"
#include "gtest/gtest.h"
#include "tests/engine/cpu_backends.h"
#include "tests/engine/ops_cases.h"

namespace longtake {
namespace {

class NanTest : public testing::TestWithParam<CpuBackend> {
 protected:
  void SetUp() override {
    ops_ = MakeCpuStream(GetParam(), 2).ops;
    if (ops_ == nullptr) GTEST_SKIP() << "this machine lacks " << GetParam().isa;
  }

  // `run` gives an operation's results; `some`: there are numbers among them, too.
  void ExpectAsReference(const std::function<std::vector<float>(Ops& ops)>& run, bool some = true) {
    const auto reference = MakeReferenceOps();
    const std::vector<float> expected = run(*reference), actual = run(*ops_);
    ASSERT_EQ(expected.size(), actual.size());
    int64_t nans = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      nans += std::isnan(expected[i]);
      EXPECT_EQ(std::isnan(actual[i]), std::isnan(expected[i])) << i;
    }
    EXPECT_GT(nans, 0);
    EXPECT_EQ(nans < static_cast<int64_t>(expected.size()), some);
  }

  std::unique_ptr<Ops> ops_;
};

INSTANTIATE_TEST_SUITE_P(Cpu, NanTest, testing::ValuesIn(kCpuBackends),
                         [](const auto& info) { return Name(info.param); });

// Random numbers, and no number at `at`.
std::vector<float> WithNan(int64_t n, int64_t at) {
  std::vector<float> values = Random(n, 1);
  values[at] = NAN;
  return values;
}

TEST_P(NanTest, Activations) {
  for (const Activation activation : {Activation::kNone, Activation::kSilu, Activation::kGeluTanh, Activation::kSigmoid}) {
    ExpectAsReference([&](Ops& ops) {
      Bench bench(ops);
      const Mat x = bench.Act(WithNan(3 * 40, 50), 40), y = bench.EmptyAct(3, 40);
      ops.elementwise().Activate(x, activation, y);
      return bench.Read(y);
    });
  }
}

TEST_P(NanTest, Norms) {
  using Norm = std::function<void(Ops & ops, const Mat& x, const float* weight, const Mat& y)>;
  const Norm norms[] = {
      [](Ops& ops, const Mat& x, const float*, const Mat& y) { ops.norm().LayerNorm({.x = x, .eps = 1e-6f, .y = y}); },
      [](Ops& ops, const Mat& x, const float* weight, const Mat& y) {
        ops.norm().RmsNorm({.x = x, .weight = weight, .eps = 1e-6f, .y = y});
      },
      [](Ops& ops, const Mat& x, const float* weight, const Mat& y) {
        ops.norm().ChannelNorm({.x = x, .gamma = weight, .silu = true, .y = y});
      }};
  for (const Norm& norm : norms) {
    ExpectAsReference([&](Ops& ops) {
      Bench bench(ops);
      const Mat x = bench.Upload(WithNan(3 * 40, 50), 40, DType::kF32), y = bench.EmptyAct(3, 40);
      norm(ops, x, bench.Floats(Random(40, 2)), y);
      return bench.Read(y);
    });
  }
}

// In a query, and in a key that some queries see.
TEST_P(NanTest, SoftmaxAttention) {
  constexpr int64_t kRows = 90, kHead = 32, kColumns = 3 * kHead;
  for (const int64_t at : {40 * kColumns + 3, 40 * kColumns + kHead + 3}) {
    for (const float cap : {0.f, 20.f}) {
      for (const bool causal : {true, false}) {
        ExpectAsReference(
            [&](Ops& ops) {
              Bench bench(ops);
              const SoftmaxAttentionSegment segment = {.rows = kRows, .key_rows = kRows};
              const Mat out = bench.EmptyAct(kRows, kHead);
              ops.attention().SoftmaxAttention({.qkv = bench.Act(WithNan(kRows * kColumns, at), kColumns),
                                                .head_dim = kHead,
                                                .scale = 0.2f,
                                                .soft_cap = cap,
                                                .causal = causal,
                                                .segments = {&segment, 1},
                                                .out = out});
              return bench.Read(out);
            },
            /*some=*/causal || at % kColumns < kHead);
      }
    }
  }
}

// Of the second of two heads.
TEST_P(NanTest, LinearAttention) {
  constexpr int kHead = 32;
  constexpr int64_t kColumns = 3 * 2 * kHead;
  for (const int64_t part : {0, 1, 2}) {  // q, k, v
    ExpectAsReference([&](Ops& ops) {
      Bench bench(ops);
      LinearAttentionSegment segment;
      segment.tokens = SegmentOf(2, 0);
      const int64_t rows = segment.tokens.rows();
      const Mat out = bench.EmptyAct(rows, 2 * kHead);
      const int64_t at = 20 * kColumns + part * 2 * kHead + kHead + 5;
      ops.attention().LinearAttention({.qkv = bench.Act(WithNan(rows * kColumns, at), kColumns),
                                       .heads = 2,
                                       .head_dim = kHead,
                                       .segments = {&segment, 1},
                                       .out = out});
      return bench.Read(out);
    });
  }
}

TEST_P(NanTest, CrossAttention) {
  constexpr int64_t kRows = 50, kTokens = 70, kHead = 32;
  for (const bool in_query : {true, false}) {
    ExpectAsReference(
        [&](Ops& ops) {
          Bench bench(ops);
          std::byte* const kv = bench.Bytes(ops.attention().CrossKvBytes(kTokens, 1, kHead));
          const auto k = in_query ? Random(kTokens * kHead, 3) : WithNan(kTokens * kHead, 100);
          ops.attention().PrepareCrossKv({.k = bench.Act(k, kHead),
                                          .v = bench.Act(Random(kTokens * kHead, 4), kHead),
                                          .heads = 1,
                                          .head_dim = kHead,
                                          .out = kv});
          const CrossAttentionSegment segment = {.rows = kRows, .kv = {kv, kTokens}};
          const auto q = in_query ? WithNan(kRows * kHead, 100) : Random(kRows * kHead, 5);
          const Mat out = bench.EmptyAct(kRows, kHead);
          ops.attention().CrossAttention(
              {.q = bench.Act(q, kHead), .heads = 1, .head_dim = kHead, .segments = {&segment, 1}, .out = out});
          return bench.Read(out);
        },
        /*some=*/in_query);
  }
}

}  // namespace
}  // namespace longtake
