// What an adapter costs: the products of one layer of the 2B model (width 2240, FFN 6720) over one latent frame of 480p
// (1560 tokens), with and without an adapter of all of the layer's products. The two take turns, so that a neighbour's
// load falls on both; the processor's time counts, and the smallest of all turns.
//
// A whole pass also has attention, norms and the depthwise convolution, on which adapters cost nothing, so the share of
// a pass is smaller than what is printed.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "engine/cpu/cpu_ops.h"

namespace longtake {
namespace {

constexpr int64_t kWidth = 2240, kHidden = 6720;
constexpr int kFrames = 1, kHeight = 30, kColumns = 52;
constexpr int64_t kTokens = int64_t{kFrames} * kHeight * kColumns;

struct Product {
  const char* name;
  int64_t inputs, outputs;
  int stacked = 1;  // layers, each of which has a pair of its own
  Activation activation = Activation::kNone;
  bool residual = false;
  int taps = 1;
};
constexpr Product kProducts[] = {{"qkv", kWidth, 3 * kWidth, 3},
                                 {"out", kWidth, kWidth, 1, Activation::kNone, true},
                                 {"cross_q", kWidth, kWidth},
                                 {"cross_out", kWidth, kWidth, 1, Activation::kNone, true},
                                 {"ffn_in", kWidth, 2 * kHidden, 1, Activation::kSilu},
                                 {"ffn_out", kHidden, kWidth},
                                 {"temporal", kWidth, kWidth, 1, Activation::kNone, true, 3}};

double ProcessorSeconds() {
  timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// One product with its memory, as SanaTransformer calls it.
class Bench {
 public:
  Bench(Ops& ops, const Product& p, int64_t rank) : ops_(ops), p_(p) {
    const DType act = ops.activation_type();
    kernel_ = Kernel({.outputs = p.outputs, .inputs = p.inputs, .kt = p.taps}, 0, p.outputs);
    x_ = Memory(p.inputs, act);
    y_ = Memory(p.outputs, p.residual || p.stacked > 1 ? DType::kF32 : act);
    const int64_t columns = p.outputs / p.stacked;
    for (int i = 0; i < p.stacked; ++i) {
      pairs_.push_back(Kernel({.outputs = rank, .inputs = p.inputs, .kt = p.taps}, 0, rank));
      pairs_.push_back(Kernel({.outputs = p.outputs, .inputs = rank}, i * columns, columns));
      terms_.push_back({.a = pairs_[2 * i].get(),
                        .b = pairs_[2 * i + 1].get(),
                        .scale = 1.f,
                        .first_row = 0,
                        .rows = kTokens,
                        .first_column = i * columns,
                        .columns = columns});
    }
  }

  double Run(bool adapter) const {
    const std::span<const LowRankTerm> terms =
        adapter ? std::span<const LowRankTerm>(terms_) : std::span<const LowRankTerm>();
    const double begin = ProcessorSeconds();
    if (p_.taps == 1) {
      ops_.dense().Linear({.kernel = *kernel_,
                           .x = x_,
                           .low_rank = terms,
                           .epilogue = {.activation = p_.activation, .residual = p_.residual},
                           .y = y_});
    } else {
      const Segment segment{.frames = kFrames, .height = kHeight, .width = kColumns};
      const ConstMat tail = ConstMat(x_).Rows(0, int64_t{kHeight} * kColumns);
      ops_.convolution().TemporalConv({.kernel = *kernel_,
                                       .x = x_,
                                       .low_rank = terms,
                                       .segments = {&segment, 1},
                                       .tails = {&tail, 1},
                                       .epilogue = {.residual = true},
                                       .out = y_});
    }
    return ProcessorSeconds() - begin;
  }

 private:
  // Rows outside [first, first + count) are zeros.
  std::unique_ptr<PackedKernel> Kernel(const KernelShape& shape, int64_t first, int64_t count) {
    const int64_t row = shape.inputs * shape.taps();
    std::vector<float> weight(shape.outputs * row, 0.f);
    for (int64_t i = first * row; i < (first + count) * row; ++i) weight[i] = Next() * 0.02f;
    const HostTensor tensor = {weight.data(), DType::kF32, {shape.outputs, shape.inputs, shape.taps()}};
    return ops_.weights().Pack(shape, {&tensor, 1}, {});
  }
  Mat Memory(int64_t columns, DType type) {
    buffers_.push_back(ops_.device().Allocate(kTokens * columns * SizeOf(type)));
    const Mat to = MakeMat(buffers_.back()->data(), type, kTokens, columns);
    std::vector<float> values(kTokens * columns);
    for (float& value : values) value = Next();
    ops_.elementwise().Activate(MakeMat(static_cast<const void*>(values.data()), DType::kF32, kTokens, columns),
                                Activation::kNone, to);
    return to;
  }
  float Next() { return static_cast<float>(random_() % 2001) * 1e-3f - 1.f; }

  Ops& ops_;
  const Product& p_;
  std::minstd_rand random_{7};
  std::vector<std::unique_ptr<Buffer>> buffers_;
  std::unique_ptr<PackedKernel> kernel_;
  std::vector<std::unique_ptr<PackedKernel>> pairs_;
  std::vector<LowRankTerm> terms_;
  Mat x_, y_;
};

int Run(int64_t rank, int threads, int turns, const std::string& dtype) {
  CpuOptions options;
  options.threads = threads;
  options.dtype = dtype;
  const auto ops = MakeCpuOps(options);
  if (!ops.ok()) {
    std::fprintf(stderr, "longtake-bench-adapter: %s\n", std::string(ops.status().message()).c_str());
    return 1;
  }
  std::printf("%s, %s, %d threads, rank %d, %d tokens, the smallest of %d turns\n", (*ops)->device().name().c_str(),
              std::string(Name((*ops)->activation_type())).c_str(), threads, static_cast<int>(rank),
              static_cast<int>(kTokens), turns);
  double all[2] = {0, 0};
  for (const Product& product : kProducts) {
    const Bench bench(**ops, product, rank);
    double least[2] = {1e9, 1e9};
    for (int turn = 0; turn <= turns; ++turn) {
      for (const bool adapter : {false, true}) {
        const double seconds = bench.Run(adapter);
        if (turn > 0) least[adapter] = std::min(least[adapter], seconds);
      }
    }
    for (int i = 0; i < 2; ++i) all[i] += least[i];
    std::printf("%-10s %8.1f ms, with the adapter %8.1f ms: %+.2f %%\n", product.name, least[0] * 1e3, least[1] * 1e3,
                (least[1] / least[0] - 1) * 100);
  }
  std::printf("%-10s %8.1f ms, with the adapter %8.1f ms: %+.2f %%\n", "all", all[0] * 1e3, all[1] * 1e3,
              (all[1] / all[0] - 1) * 100);
  return 0;
}

}  // namespace
}  // namespace longtake

int main(int argc, char** argv) {
  CLI::App app("Times the products of a layer of the 2B model with and without an adapter.", "longtake-bench-adapter");
  int rank = 32, threads = 1, turns = 5;
  std::string dtype = "auto";
  app.add_option("--rank", rank, "Of all pairs")->check(CLI::Range(1, 1024))->capture_default_str();
  app.add_option("--threads", threads, "Of the cpu backend")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--turns", turns, "Of each product")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--dtype", dtype, "auto, float32 or bfloat16")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return longtake::Run(rank, threads, turns, dtype);
}
