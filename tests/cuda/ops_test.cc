// Every operation of the cuda backend, in the emulation, against the reference; and its bytes against themselves in
// other batches and with a block's threads run in other orders.
#include <map>
#include <ostream>
#include <string>
#include <vector>

#include "engine/cuda/cuda_ops.h"
#include "engine/reference/reference_ops.h"
#include "gtest/gtest.h"
#include "tests/cuda/emulation/settings.h"
#include "tests/engine/ops_cases.h"

namespace longtake {

void PrintTo(const OpsCase& c, std::ostream* os) { *os << c.name; }

namespace {

using emulation::Order;

// As of the cpu backend (tests/engine/ops_test.cc): four roundings to 8 bits; pixels one step of 255.
constexpr double kBFloat16 = 0x1p-7;
constexpr double kPixels = 1.0 / 235;

class CudaOpsTest : public testing::TestWithParam<OpsCase> {
 protected:
  void SetUp() override {
    auto ops = MakeCudaOps({});
    ASSERT_TRUE(ops.ok()) << ops.status();
    ops_ = *std::move(ops);
  }
  void TearDown() override {
    emulation::Set({});
    EXPECT_TRUE(ops_->device().Synchronize().ok()) << ops_->device().Synchronize();
  }
  std::unique_ptr<Ops> ops_;
};

TEST_P(CudaOpsTest, EqualsReference) {
  const OpsCase& c = GetParam();
  const double tolerance = c.name.find("i420") != std::string::npos ? kPixels : kBFloat16;
  const GroupResults expected = c.run(*MakeReferenceOps(), AllGroups(c));
  const GroupResults actual = c.run(*ops_, AllGroups(c));
  for (const auto& [group, values] : expected) {
    ASSERT_EQ(values.size(), actual.at(group).size());
    EXPECT_LE(Error(values, actual.at(group)), tolerance) << "group " << group;
  }
}

TEST_P(CudaOpsTest, NeitherBatchNorThreadsChangeAByte) {
  const OpsCase& c = GetParam();
  const GroupResults expected = c.run(*ops_, AllGroups(c));
  struct Run {
    Groups groups;
    Order order;
  };
  for (const auto& [groups, order] : {Run{{0}, Order::kRandom}, Run{{2, 0}, Order::kDescending},
                                      Run{{1, 2, 0}, Order::kRandom}, Run{{1}, Order::kAscending}}) {
    emulation::Set({.order = order, .seed = 7});
    for (const auto& [group, values] : c.run(*ops_, groups)) {
      EXPECT_TRUE(SameBytes(values, expected.at(group))) << "group " << group << " in a batch of " << groups.size();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, CudaOpsTest, testing::ValuesIn(AllCases()),
                         [](const auto& info) { return info.param.name; });

// A device is refused by its name and the option's, when the backend is made.
TEST(CudaOps, TypesAndKernelsOfADevice) {
  const auto code = [](int capability, const char* dtype) {
    emulation::Set({.capability = capability});
    const absl::Status status = MakeCudaOps({.dtype = dtype}).status();
    emulation::Set({});
    return status;
  };
  if ((*MakeCudaOps({}))->device().name().find("emulation") == std::string::npos) GTEST_SKIP() << "a device";
  for (const int capability : {90, 100, 103, 120}) {
    EXPECT_TRUE(code(capability, "auto").ok()) << code(capability, "auto");
    EXPECT_EQ(code(capability, "float8").ok(), capability == 90) << capability;
    EXPECT_EQ(code(capability, "nvfp4").ok(), capability >= 100) << capability;
  }
  EXPECT_EQ(code(120, "float8").message(),
            "dtype: float8 needs a device of sm_90, this one has sm_120; nvfp4 is its narrow type");
  EXPECT_EQ(code(80, "auto").code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(code(80, "auto").message().substr(0, 34), "kernels for host emulation, sm_80:");
}

TEST(CudaOps, LaunchesAreTimedWhileTheProfilerIsOn) {
  const auto ops = *MakeCudaOps({});
  const auto launches = [&] {
    Bench bench(*ops);
    const Mat x = bench.Act(Random(40 * 32, 1), 32);
    const auto kernel = bench.Kernel({.outputs = 40, .inputs = 32}, 2, true);
    ops->dense().Linear({.kernel = *kernel, .x = x, .y = bench.EmptyAct(40, 40)});  // 40 outputs go through sums
    std::map<std::string, uint64_t> calls;
    for (const Profiler::Zone& zone : ops->profiler().zones()) {
      if (zone.operation.starts_with("launch: ")) calls.emplace(zone.operation, zone.calls);
    }
    EXPECT_TRUE(ops->device().Synchronize().ok());
    return calls;
  };
  EXPECT_TRUE(launches().empty());
  ops->profiler().Enable(true);
  const auto timed = launches();
  EXPECT_EQ(timed.size(), 2u);  // the product, which has its shape in its name on a device, and its epilogue
  EXPECT_EQ(timed.count("launch: epilogue"), 1u);
  ops->profiler().Enable(false);
  EXPECT_EQ(launches(), timed);
}

// Shapes that the common cases do not have: sessions of several partial sums, wide heads, a frame of several blocks.
TEST(CudaOps, LinearAttentionOverManyPartialSums) {
  constexpr int kHeads = 2, kHeadDim = 112;
  constexpr int64_t kD = kHeads * kHeadDim;
  const Segment segment = {.first_row = 0, .frames = 3, .height = 17, .width = 23, .first_frame = 900};
  const auto run = [&](Ops& ops) {
    Bench bench(ops);
    LinearAttentionArgs args;
    args.qkv = bench.Upload(Random(segment.rows() * 3 * kD, 1), 3 * kD, DType::kF32);
    args.q_weight = bench.Floats(Random(kD, 2, 0, 0.3f, 1.f));
    args.k_weight = bench.Floats(Random(kD, 3, 0, 0.3f, 1.f));
    args.heads = kHeads;
    args.head_dim = kHeadDim;
    LinearAttentionSegment s;
    s.tokens = segment;
    s.S_out = bench.Floats(std::vector<float>(kD * kHeadDim));
    s.z_out = bench.Floats(std::vector<float>(kD));
    args.segments = {&s, 1};
    const Mat out = bench.EmptyAct(segment.rows(), kD);
    args.out = out;
    ops.attention().LinearAttention(args);
    return std::vector{bench.Read(out), bench.ReadFloats(s.S_out, kD * kHeadDim), bench.ReadFloats(s.z_out, kD)};
  };
  const auto expected = run(*MakeReferenceOps()), actual = run(**MakeCudaOps({}));
  EXPECT_LE(Error(expected[0], actual[0]), kBFloat16);
  // The state is a float32 sum of products of TF32: 2^-11 of a term each way, and the terms' errors average out.
  EXPECT_LE(Error(expected[1], actual[1]), 0x1p-10);
  EXPECT_LE(Error(expected[2], actual[2]), 1e-6);
}

TEST(CudaOps, AttentionWithWideHeads) {
  struct Case {
    int heads, kv_heads, head_dim;
    int64_t rows;
    float cap;
    bool causal;
  };
  for (const Case& c : {Case{2, 1, 256, 150, 50.f, true}, Case{1, 1, 384, 100, 0.f, false}}) {
    SCOPED_TRACE(c.head_dim);
    const int64_t width = int64_t{c.heads + 2 * c.kv_heads} * c.head_dim;
    const auto run = [&](Ops& ops) {
      Bench bench(ops);
      const SoftmaxAttentionSegment segment = {0, c.rows, c.rows - 7};
      const Mat out = bench.EmptyAct(c.rows, int64_t{c.heads} * c.head_dim);
      ops.attention().SoftmaxAttention({.qkv = bench.Act(Random(c.rows * width, 1), width),
                                        .heads = c.heads,
                                        .kv_heads = c.kv_heads,
                                        .head_dim = c.head_dim,
                                        .scale = 0.0625f,
                                        .soft_cap = c.cap,
                                        .causal = c.causal,
                                        .rope_theta = c.causal ? 10000.f : 0.f,
                                        .segments = {&segment, 1},
                                        .out = out});
      return bench.Read(out);
    };
    EXPECT_LE(Error(run(*MakeReferenceOps()), run(**MakeCudaOps({}))), kBFloat16);
  }
}

TEST(CudaOps, LinearAttentionWithHeadsWiderThanASlice) {
  constexpr int kHeadDim = 144;
  const Segment segment = {.first_row = 0, .frames = 2, .height = 3, .width = 9, .first_frame = 0};
  const auto run = [&](Ops& ops) {
    Bench bench(ops);
    LinearAttentionSegment s;
    s.tokens = segment;
    const Mat out = bench.EmptyAct(segment.rows(), kHeadDim);
    ops.attention().LinearAttention({.qkv = bench.Act(Random(segment.rows() * 3 * kHeadDim, 1), 3 * kHeadDim),
                                     .heads = 1,
                                     .head_dim = kHeadDim,
                                     .segments = {&s, 1},
                                     .out = out});
    return bench.Read(out);
  };
  EXPECT_LE(Error(run(*MakeReferenceOps()), run(**MakeCudaOps({}))), kBFloat16);
}

TEST(CudaOps, ConvOverSeveralBlocks) {
  struct Case {
    int64_t inputs;
    int upsample, height, width;  // of the output
  };
  // 160 outputs are two blocks of 96 channels. Tap after tap (40 inputs): 15 x 19 pixels are three blocks. In tiles of
  // 8 x 32 (64 inputs, two windows a frame): three by two of them, with and without doubling.
  for (const Case& c : {Case{40, 1, 15, 19}, Case{64, 1, 17, 35}, Case{64, 2, 18, 34}}) {
    SCOPED_TRACE(testing::Message() << c.inputs << " inputs, upsample " << c.upsample);
    const KernelShape shape = {.outputs = 160, .inputs = c.inputs, .kt = 3, .kh = 3, .kw = 3};
    const int height = c.height / c.upsample, width = c.width / c.upsample;
    const auto run = [&](Ops& ops) {
      Bench bench(ops);
      const auto kernel = bench.Kernel(shape, 1, true);
      std::array<ConstMat, 3> in;
      for (int t = 1; t < 3; ++t) in[t] = bench.Act(Random(height * width * c.inputs, 2 + t), c.inputs);
      const Mat out = bench.Upload(Random(int64_t{c.height} * c.width * shape.outputs, 9), shape.outputs, DType::kF32);
      const ConstMat residual = out;
      ops.convolution().Conv({.kernel = *kernel,
                              .in = in,
                              .in_height = height,
                              .in_width = width,
                              .out = {&out, 1},
                              .out_height = c.height,
                              .out_width = c.width,
                              .upsample = c.upsample,
                              .pad_top = 1,
                              .pad_left = 1,
                              .residual = {&residual, 1}});
      return bench.Read(out);
    };
    // Weights are rounded to bf16, the inputs are bf16 numbers already, and the sums are stored in float32.
    EXPECT_LE(Error(run(*MakeReferenceOps()), run(**MakeCudaOps({}))), 0x1p-9);
  }
}

}  // namespace
}  // namespace longtake
