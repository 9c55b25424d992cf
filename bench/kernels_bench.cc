// The cpu backend's kernels at the 2B model's shapes (width 2240, 20 heads of 112, one latent frame of 480p = 30 x 52
// patches = 1560 tokens, caption of 300) and Wan's at frames of 240 x 416; matrix products beside oneDNN's.
//
// `--threads=N` (1) sets both sides' threads. With one thread time is the processor's, which neighbours on the machine
// disturb least; with more it is the clock's. Operations are counted by definition, zeros included.
#include <benchmark/benchmark.h>
#include <omp.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "bench/onednn_gemm.h"
#include "engine/core/float16.h"
#include "engine/cpu/cpu_ops.h"

namespace longtake {
namespace {

constexpr int64_t kWidth = 2240, kHidden = 6720, kCaption = 300;
constexpr int kHeads = 20, kHeadDim = 112, kHeight = 30, kColumns = 52;
constexpr int64_t kTokens = int64_t{kHeight} * kColumns;

struct Shape {
  const char* name;
  int64_t rows, inputs, outputs;
  int taps = 1;
};
// What all benchmarks take.
struct Run {
  DType type;
  int threads;
};

constexpr Shape kShapes[] = {{"qkv", kTokens, kWidth, 3 * kWidth},     {"out", kTokens, kWidth, kWidth},
                             {"ffn_in", kTokens, kWidth, 2 * kHidden}, {"ffn_out", kTokens, kHidden, kWidth},
                             {"temporal", kTokens, kWidth, kWidth, 3}, {"tiny", 640, 192, 576}};

std::unique_ptr<Ops> MakeOps(DType type, int threads) {
  CpuOptions options;
  options.threads = threads;
  options.dtype = std::string(Name(type));
  auto ops = MakeCpuOps(options);
  return ops.ok() ? *std::move(ops) : nullptr;
}

// Backend memory with random values of about unit size.
struct Data {
  explicit Data(Ops& o) : ops(o) {}
  Mat Fill(int64_t rows, int64_t columns, DType type) {
    auto buffer = ops.device().Allocate(rows * columns * SizeOf(type));
    std::minstd_rand random(7);
    for (int64_t i = 0; i < rows * columns; ++i) {
      const float v = static_cast<float>(random() % 2001) * 1e-3f - 1.f;
      if (type == DType::kF32) {
        buffer->f32()[i] = v;
      } else {
        static_cast<uint16_t*>(buffer->data())[i] = FloatToBF16(v);
      }
    }
    const Mat filled = MakeMat(buffer->data(), type, rows, columns);
    buffers.push_back(std::move(buffer));
    return filled;
  }
  Mat Act(int64_t rows, int64_t columns) { return Fill(rows, columns, ops.activation_type()); }
  float* Floats(int64_t n) { return static_cast<float*>(Fill(1, n, DType::kF32).data); }
  std::unique_ptr<PackedKernel> Kernel(const KernelShape& s) {
    std::vector<float> w(s.outputs * s.inputs * s.taps(), 0.01f);
    const HostTensor t = {w.data(), DType::kF32, {s.outputs, s.inputs, s.taps()}};
    return ops.weights().Pack(s, {&t, 1}, {});
  }
  Ops& ops;
  std::vector<std::unique_ptr<Buffer>> buffers;
};

void CountOperations(benchmark::State& state, double operations) {
  state.counters["GFLOP/s"] =
      benchmark::Counter(operations * 1e-9 * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}

void OwnProduct(benchmark::State& state, Shape s, Run run) {
  const auto ops = MakeOps(run.type, run.threads);
  if (ops == nullptr) return state.SkipWithError("this machine lacks the type");
  Data data(*ops);
  if (s.taps == 1) {
    const auto w = data.Kernel({.outputs = s.outputs, .inputs = s.inputs});
    const Mat x = data.Act(s.rows, s.inputs), y = data.Act(s.rows, s.outputs);
    for (auto _ : state) ops->dense().Linear({.kernel = *w, .x = x, .y = y});
  } else {
    const auto w = data.Kernel({.outputs = s.outputs, .inputs = s.inputs, .kt = s.taps});
    const Mat x = data.Act(s.rows, s.inputs), y = data.Fill(s.rows, s.outputs, DType::kF32);
    const Mat tail = data.Act(kTokens, s.inputs);
    const Segment segment = {0, 1, kHeight, kColumns, 0};
    const ConstMat tails[] = {tail};
    Epilogue e;
    e.residual = true;
    const TemporalConvArgs args{
        .kernel = *w, .x = x, .segments = {&segment, 1}, .tails = tails, .epilogue = e, .out = y};
    for (auto _ : state) ops->convolution().TemporalConv(args);
  }
  CountOperations(state, 2.0 * s.rows * s.inputs * s.outputs * s.taps);
}

void OneDnnProduct(benchmark::State& state, Shape s, Run run) {
  const auto gemm = OnednnGemm::Make({{.rows = s.rows, .inputs = s.inputs * s.taps, .outputs = s.outputs}},
                                     std::string(Name(run.type)));
  if (!gemm.ok()) return state.SkipWithError(gemm.status().ToString().c_str());
  for (auto _ : state) {
    if (const auto round = (*gemm)->Round(); !round.ok()) return state.SkipWithError(round.status().ToString().c_str());
  }
  CountOperations(state, 2.0 * s.rows * s.inputs * s.outputs * s.taps);
}

// ---- The other operations of a transformer layer ----

void LayerNorm(benchmark::State& state, Run run) {
  const auto ops = MakeOps(run.type, run.threads);
  Data data(*ops);
  const Mat x = data.Fill(kTokens, kWidth, DType::kF32), y = data.Act(kTokens, kWidth);
  const float* table = data.Floats(6 * kWidth);
  const std::vector<int32_t> mod(kTokens, 0);
  const LayerNormArgs args{
      .x = x, .eps = 1e-6f, .shift = table, .scale = table + kWidth, .mod_stride = 6 * kWidth, .mod_row = mod, .y = y};
  for (auto _ : state) ops->norm().LayerNorm(args);
}

void LinearAttention(benchmark::State& state, Run run) {
  const auto ops = MakeOps(run.type, run.threads);
  Data data(*ops);
  const Mat qkv = data.Act(kTokens, 3 * kWidth), out = data.Act(kTokens, kWidth);
  LinearAttentionSegment segment;
  segment.tokens = {0, 1, kHeight, kColumns, 3};
  const LinearAttentionState past{data.Floats(kHeads * kHeadDim * kHeadDim), data.Floats(kWidth)};
  segment.history = {&past, 1};
  const float* weight = data.Floats(kWidth);
  LinearAttentionArgs args{.qkv = qkv,
                           .q_weight = weight,
                           .k_weight = weight,
                           .heads = kHeads,
                           .head_dim = kHeadDim,
                           .segments = {&segment, 1},
                           .out = out};
  for (auto _ : state) ops->attention().LinearAttention(args);
  CountOperations(state, 4.0 * kTokens * kWidth * kHeadDim);
}

void CrossAttention(benchmark::State& state, Run run) {
  const auto ops = MakeOps(run.type, run.threads);
  Data data(*ops);
  const Mat q = data.Act(kTokens, kWidth), out = data.Act(kTokens, kWidth);
  const float* weight = data.Floats(kWidth);
  auto kv = ops->device().Allocate(ops->attention().CrossKvBytes(kCaption, kHeads, kHeadDim));
  auto* panels = static_cast<std::byte*>(kv->data());
  ops->attention().PrepareCrossKv({.k = data.Act(kCaption, kWidth),
                                   .v = data.Act(kCaption, kWidth),
                                   .k_weight = weight,
                                   .heads = kHeads,
                                   .head_dim = kHeadDim,
                                   .out = panels});
  const CrossAttentionSegment segment = {0, kTokens, {panels, kCaption}};
  CrossAttentionArgs args{
      .q = q, .q_weight = weight, .heads = kHeads, .head_dim = kHeadDim, .segments = {&segment, 1}, .out = out};
  for (auto _ : state) ops->attention().CrossAttention(args);
  CountOperations(state, 4.0 * kTokens * kCaption * kWidth);
}

void Depthwise(benchmark::State& state, Run run) {
  const auto ops = MakeOps(run.type, run.threads);
  Data data(*ops);
  const Mat x = data.Act(kTokens, 2 * kHidden), y = data.Act(kTokens, kHidden);
  const std::vector<float> w(2 * kHidden * 9, 0.1f), b(2 * kHidden, 0.f);
  const auto kernel = ops->weights().PackDepthwise({w.data(), DType::kF32, {2 * kHidden, 1, 3, 3}},
                                                   {b.data(), DType::kF32, {2 * kHidden}});
  const Segment segment = {0, 1, kHeight, kColumns, 0};
  const DepthwiseGluArgs args{.kernel = *kernel, .x = x, .segments = {&segment, 1}, .y = y};
  for (auto _ : state) ops->convolution().DepthwiseGlu(args);
  CountOperations(state, 18.0 * kTokens * 2 * kHidden);
}

// ---- The VAE ----

struct ConvShape {
  const char* name;
  int64_t inputs, outputs;
  int kt, height, width, frames, upsample;
};
// Of one latent frame of 30 x 52 at 240 x 416: the stages' residual convolutions and the doublings.
constexpr ConvShape kConvs[] = {
    {"384_30x52", 384, 384, 3, 30, 52, 1, 1},     {"384_60x104", 384, 384, 3, 60, 104, 2, 1},
    {"192_120x208", 192, 192, 3, 120, 208, 4, 1}, {"96_240x416", 96, 96, 3, 240, 416, 4, 1},
    {"up_192_to_96", 192, 96, 1, 120, 208, 4, 2}, {"out_3", 96, 3, 3, 240, 416, 4, 1}};

void Convolution(benchmark::State& state, ConvShape c, Run run) {
  const auto ops = MakeOps(run.type, run.threads);
  Data data(*ops);
  const auto kernel = data.Kernel({.outputs = c.outputs, .inputs = c.inputs, .kt = c.kt, .kh = 3, .kw = 3});
  const int height = c.height * c.upsample, width = c.width * c.upsample;
  const Mat in = data.Act(int64_t{c.height} * c.width * (c.frames + 2), c.inputs);
  const Mat out = data.Act(int64_t{height} * width * c.frames, c.outputs);
  std::vector<ConstMat> ins;
  std::vector<Mat> outs;
  for (int f = 0; f < c.frames; ++f) {
    for (int t = 0; t < c.kt; ++t)
      ins.push_back(in.Rows(int64_t{c.height} * c.width * (f + t), int64_t{c.height} * c.width));
    outs.push_back(out.Rows(int64_t{height} * width * f, int64_t{height} * width));
  }
  const ConvArgs args{.kernel = *kernel,
                      .in = ins,
                      .in_height = c.height,
                      .in_width = c.width,
                      .out = outs,
                      .out_height = height,
                      .out_width = width,
                      .upsample = c.upsample,
                      .pad_top = 1,
                      .pad_left = 1};
  for (auto _ : state) ops->convolution().Conv(args);
  CountOperations(state, 18.0 * c.kt * height * width * c.frames * c.inputs * c.outputs);
}

void ChannelNorm(benchmark::State& state, Run run) {
  const auto ops = MakeOps(run.type, run.threads);
  Data data(*ops);
  const Mat x = data.Act(240 * 416 * 4, 96), y = data.Act(240 * 416 * 4, 96);
  const float* gamma = data.Floats(96);
  for (auto _ : state) ops->norm().ChannelNorm({.x = x, .gamma = gamma, .silu = true, .y = y});
}

void Middle(benchmark::State& state, Run run) {
  const auto ops = MakeOps(run.type, run.threads);
  Data data(*ops);
  const Mat qkv = data.Act(kTokens, 3 * 384), out = data.Act(kTokens, 384);
  const SoftmaxAttentionSegment segment = {0, kTokens, kTokens};
  SoftmaxAttentionArgs args{.qkv = qkv, .head_dim = 384, .scale = 0.05f, .segments = {&segment, 1}, .out = out};
  for (auto _ : state) ops->attention().SoftmaxAttention(args);
  CountOperations(state, 4.0 * kTokens * kTokens * 384);
}

void Text(benchmark::State& state, Run run) {
  const auto ops = MakeOps(run.type, run.threads);
  Data data(*ops);
  const Mat qkv = data.Act(512, 16 * 256), out = data.Act(512, 8 * 256);
  const SoftmaxAttentionSegment segment = {0, 512, 512};
  SoftmaxAttentionArgs args{.qkv = qkv,
                            .heads = 8,
                            .kv_heads = 4,
                            .head_dim = 256,
                            .scale = 1.f / 16,
                            .soft_cap = 50.f,
                            .causal = true,
                            .window = 4096,
                            .rope_theta = 10000.f,
                            .segments = {&segment, 1},
                            .out = out};
  for (auto _ : state) ops->attention().SoftmaxAttention(args);
}

void Register(int threads) {
  for (DType type : {DType::kBF16, DType::kF32}) {
    const Run run = {type, threads};
    std::string suffix = "/";
    suffix += Name(type);
    auto add = [&](const std::string& name, auto&& f) {
      auto* b = benchmark::RegisterBenchmark((name + suffix).c_str(), f)->Unit(benchmark::kMillisecond);
      if (threads > 1) b->UseRealTime();
    };
    for (const Shape& s : kShapes) {
      add(std::string("gemm/") + s.name + "/own", [=](benchmark::State& state) { OwnProduct(state, s, run); });
      add(std::string("gemm/") + s.name + "/onednn", [=](benchmark::State& state) { OneDnnProduct(state, s, run); });
    }
    const std::pair<const char*, void (*)(benchmark::State&, Run)> operations[] = {
        {"op/layer_norm", LayerNorm},
        {"op/linear_attention", LinearAttention},
        {"op/cross_attention", CrossAttention},
        {"op/depthwise_glu", Depthwise},
        {"vae/channel_norm", ChannelNorm},
        {"vae/attention", Middle},
        {"text/attention", Text}};
    for (const auto& [name, f] : operations) {
      add(name, [f = f, run](benchmark::State& state) { f(state, run); });
    }
    for (const ConvShape& c : kConvs) {
      add(std::string("vae/conv_") + c.name, [=](benchmark::State& state) { Convolution(state, c, run); });
    }
  }
}

}  // namespace
}  // namespace longtake

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  int threads = 1;
  constexpr std::string_view kThreads = "--threads=";
  for (int i = 1; i < argc; ++i) {
    const std::string_view arg = argv[i];
    if (!arg.starts_with(kThreads)) continue;
    threads = std::max(1, std::atoi(argv[i] + kThreads.size()));
    std::copy(argv + i + 1, argv + argc, argv + i);
    --argc;
    break;
  }
  omp_set_num_threads(threads);
  longtake::Register(threads);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
