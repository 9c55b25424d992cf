// Properties of operations that hold whatever the numbers are: what adds up, what follows a permutation.
#include <algorithm>
#include <numeric>
#include <random>
#include <string_view>

#include "engine/reference/reference_ops.h"
#include "gtest/gtest.h"
#include "tests/engine/cpu_backends.h"
#include "tests/engine/ops_cases.h"

namespace longtake {
namespace {

// Sums of some hundred terms in float32, in another order.
constexpr double kSums = 4e-6;

class PropertiesTest : public testing::TestWithParam<CpuBackend> {
 protected:
  void SetUp() override {
    ops_ = std::string_view(GetParam().isa) == "reference" ? MakeReferenceOps() : MakeOps(GetParam(), 2);
    if (ops_ == nullptr) GTEST_SKIP() << "this machine lacks " << GetParam().isa;
  }
  std::unique_ptr<Ops> ops_;
};

std::vector<CpuBackend> Backends() {
  std::vector<CpuBackend> backends = {{"reference", "float32"}};
  backends.insert(backends.end(), kCpuBackends.begin(), kCpuBackends.end());
  return backends;
}

INSTANTIATE_TEST_SUITE_P(All, PropertiesTest, testing::ValuesIn(Backends()),
                         [](const auto& info) { return Name(info.param); });

constexpr int kHeads = 4, kHeadDim = 22, kHeight = 3, kWidth = 5;
constexpr int64_t kD = kHeads * kHeadDim, kFrameRows = kHeight * kWidth;

struct Attended {
  std::vector<float> out, S, z;
};

// Linear attention over frames [first, first + frames) of a video whose q, k and v are `qkv` [tokens, 3D], with the
// state of earlier blocks. Stores the sum.
struct Video {
  std::vector<float> qkv;
  std::vector<float> q_weight, k_weight;  // empty: no norm
};
Attended Attend(Ops& ops, const Video& video, int first, int frames, const std::vector<const Attended*>& history,
                int first_position = 0) {
  Bench bench(ops);
  const auto begin = video.qkv.begin() + first * kFrameRows * 3 * kD;
  LinearAttentionArgs args;
  args.qkv = bench.Upload({begin, begin + frames * kFrameRows * 3 * kD}, 3 * kD, DType::kF32);
  if (!video.q_weight.empty()) {
    args.q_weight = bench.Floats(video.q_weight);
    args.k_weight = bench.Floats(video.k_weight);
  }
  args.heads = kHeads;
  args.head_dim = kHeadDim;
  std::vector<LinearAttentionState> states;
  for (const Attended* h : history) states.push_back({bench.Floats(h->S), bench.Floats(h->z)});
  LinearAttentionSegment segment;
  segment.tokens = {.frames = frames, .height = kHeight, .width = kWidth, .first_frame = first_position + first};
  segment.history = states;
  segment.S_out = bench.Floats(std::vector<float>(kD * kHeadDim));
  segment.z_out = bench.Floats(std::vector<float>(kD));
  segment.store_sum = true;
  args.segments = {&segment, 1};
  const Mat out = bench.EmptyAct(frames * kFrameRows, kD);
  args.out = out;
  ops.attention().LinearAttention(args);
  return {bench.Read(out), bench.ReadFloats(segment.S_out, kD * kHeadDim), bench.ReadFloats(segment.z_out, kD)};
}

Video RandomVideo(int frames, bool norm) {
  Video video{.qkv = Random(frames * kFrameRows * 3 * kD, 1)};
  if (norm) {
    video.q_weight = Random(kD, 2, 0, 0.3f, 1.f);
    video.k_weight = Random(kD, 3, 0, 0.3f, 1.f);
  }
  return video;
}

// The state after blocks A and B is that of one block A + B: carried from A to B, or summed from the contributions of
// both, which is what a window does.
TEST_P(PropertiesTest, TheStateIsTheSumOverAnyCutIntoBlocks) {
  constexpr int kFrames = 5;
  const Video video = RandomVideo(kFrames, true);
  const Attended whole = Attend(*ops_, video, 0, kFrames, {});
  for (int cut = 1; cut < kFrames; ++cut) {
    SCOPED_TRACE(cut);
    const Attended a = Attend(*ops_, video, 0, cut, {});
    const Attended carried = Attend(*ops_, video, cut, kFrames - cut, {&a});
    EXPECT_LE(Error(whole.S, carried.S), kSums);
    EXPECT_LE(Error(whole.z, carried.z), kSums);
    Attended sum = Attend(*ops_, video, cut, kFrames - cut, {});
    std::transform(a.S.begin(), a.S.end(), sum.S.begin(), sum.S.begin(), std::plus<>());
    std::transform(a.z.begin(), a.z.end(), sum.z.begin(), sum.z.begin(), std::plus<>());
    EXPECT_LE(Error(whole.S, sum.S), kSums);
    EXPECT_LE(Error(whole.z, sum.z), kSums);
  }
}

// Rotary positions are absolute, and what is read depends on their differences: a video that begins at another frame
// has another S and the same output.
TEST_P(PropertiesTest, ALaterBeginningRotatesTheStateAndKeepsTheOutput) {
  const Video video = RandomVideo(3, true);
  const Attended at_zero = Attend(*ops_, video, 0, 3, {}), later = Attend(*ops_, video, 0, 3, {}, 40);
  EXPECT_LE(Error(at_zero.out, later.out), ErrorBound(GetParam()));
  EXPECT_LE(Error(at_zero.z, later.z), kSums);
  EXPECT_GT(Error(at_zero.S, later.S), 0.1);
}

std::vector<int64_t> Permutation(int64_t n) {
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::mt19937 engine(9);
  for (int64_t i = n - 1; i > 0; --i) std::swap(order[i], order[engine() % (i + 1)]);
  return order;
}

// Pieces of `size` values of each row, in another order.
std::vector<float> Permuted(const std::vector<float>& rows, const std::vector<int64_t>& order, int64_t size) {
  const int64_t width = static_cast<int64_t>(order.size()) * size;
  std::vector<float> permuted;
  for (size_t row = 0; row < rows.size(); row += width) {
    for (int64_t piece : order) {
      permuted.insert(permuted.end(), rows.begin() + row + piece * size, rows.begin() + row + (piece + 1) * size);
    }
  }
  return permuted;
}

TEST_P(PropertiesTest, PermutedHeadsPermuteOutputAndState) {
  const std::vector<int64_t> order = Permutation(kHeads);
  for (const bool norm : {false, true}) {
    const Video video = RandomVideo(2, norm);
    const Video permuted{.qkv = Permuted(video.qkv, order, kHeadDim),
                         .q_weight = Permuted(video.q_weight, order, kHeadDim),
                         .k_weight = Permuted(video.k_weight, order, kHeadDim)};
    const Attended before = Attend(*ops_, video, 0, 2, {}), after = Attend(*ops_, permuted, 0, 2, {});
    // The norm adds squares up in the heads' order; without it a head's bytes are its own.
    const double bound = norm ? kSums : 0;
    EXPECT_LE(Error(Permuted(before.out, order, kHeadDim), after.out), norm ? ErrorBound(GetParam()) : 0);
    EXPECT_LE(Error(Permuted(before.S, order, kHeadDim * kHeadDim), after.S), bound);
    EXPECT_LE(Error(Permuted(before.z, order, kHeadDim), after.z), bound);
  }
}

// An output's bytes depend on its own weights: not on the panel that it is packed into.
TEST_P(PropertiesTest, PermutedOutputsPermuteColumns) {
  constexpr int64_t kInputs = 37, kRows = 30;
  for (const int64_t outputs : {35, 64, 100, 161}) {
    SCOPED_TRACE(outputs);
    const std::vector<int64_t> order = Permutation(outputs);
    const auto run = [&](const std::vector<float>& gate, const std::vector<float>& up, const std::vector<float>& bias) {
      Bench bench(*ops_);
      const HostTensor gate_weight = {gate.data(), DType::kF32, {outputs, kInputs}};
      const HostTensor up_weight = {up.data(), DType::kF32, {outputs, kInputs}};
      const HostTensor biases = {bias.data(), DType::kF32, {outputs}};
      const KernelShape shape{.outputs = outputs, .inputs = kInputs};
      const auto linear = ops_->weights().Pack(shape, {&gate_weight, 1}, {&biases, 1});
      const auto gated = ops_->weights().PackGated(shape, gate_weight, up_weight);
      const Mat x = bench.Act(Random(kRows * kInputs, 4), kInputs);
      const Mat y = bench.Empty(kRows, outputs, DType::kF32), z = bench.EmptyAct(kRows, outputs);
      ops_->dense().Linear({.kernel = *linear, .x = x, .epilogue = {.activation = Activation::kSilu}, .y = y});
      ops_->dense().LinearGated({.kernel = *gated, .x = x, .activation = Activation::kGeluTanh, .y = z});
      return std::pair(bench.Read(y), bench.Read(z));
    };
    const auto gate = Random(outputs * kInputs, 1, 0, 0.2f), up = Random(outputs * kInputs, 2, 0, 0.2f),
               bias = Random(outputs, 3);
    const auto [linear, gated] = run(gate, up, bias);
    const auto [linear_permuted, gated_permuted] =
        run(Permuted(gate, order, kInputs), Permuted(up, order, kInputs), Permuted(bias, order, 1));
    EXPECT_TRUE(SameBytes(Permuted(linear, order, 1), linear_permuted));
    EXPECT_TRUE(SameBytes(Permuted(gated, order, 1), gated_permuted));
  }
}

TEST_P(PropertiesTest, PermutedOutputsPermuteChannelsOfAConvolution) {
  constexpr int64_t kInputs = 19, kOutputs = 100;
  constexpr int kSide = 6;
  const std::vector<int64_t> order = Permutation(kOutputs);
  const auto run = [&](const std::vector<float>& weight, const std::vector<float>& bias) {
    Bench bench(*ops_);
    const HostTensor w = {weight.data(), DType::kF32, {kOutputs, kInputs, 1, 3, 3}};
    const HostTensor b = {bias.data(), DType::kF32, {kOutputs}};
    const auto kernel =
        ops_->weights().Pack({.outputs = kOutputs, .inputs = kInputs, .kh = 3, .kw = 3}, {&w, 1}, {&b, 1});
    const ConstMat in = bench.Act(Random(kSide * kSide * kInputs, 4), kInputs);
    const Mat out = bench.Empty(kSide * kSide, kOutputs, DType::kF32);
    ops_->convolution().Conv({.kernel = *kernel,
                              .in = {&in, 1},
                              .in_height = kSide,
                              .in_width = kSide,
                              .out = {&out, 1},
                              .out_height = kSide,
                              .out_width = kSide,
                              .pad_top = 1,
                              .pad_left = 1});
    return bench.Read(out);
  };
  const auto weight = Random(kOutputs * kInputs * 9, 1, 0, 0.1f), bias = Random(kOutputs, 3);
  EXPECT_TRUE(SameBytes(Permuted(run(weight, bias), order, 1),
                        run(Permuted(weight, order, kInputs * 9), Permuted(bias, order, 1))));
}

}  // namespace
}  // namespace longtake
