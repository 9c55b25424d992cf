#include "engine/cuda/kernels/dispatch.h"
#include "engine/cuda/kernels/elements.h"
#include "engine/cuda/kernels/grid.h"

namespace longtake::cuda {
namespace {

constexpr int kThreads = 128;

// A thread has kVector channels of both halves and kLines lines, and walks along them: of each column it loads
// kLines + 2 elements of each half, so that lines are read 1.5 times (from the caches; once from memory) and columns
// once. Three columns of six lines as bf16 pairs are 36 registers, the weights 36, which with sums and addresses leaves
// five blocks a multiprocessor: 640 threads with 48 bytes on their way each, 30 KB, where 4.8 TB/s at 600 ns need 22 KB
// on each of 132.
template <int kVector>
__global__ void __launch_bounds__(kThreads) DepthwiseGluKernel(DepthwiseLaunch a) {
  const int64_t half = a.y.cols, all = 2 * half;
  const int64_t channel = (int64_t{blockIdx.y} * kThreads + threadIdx.x) * kVector;
  if (channel >= half) return;
  const Share share = a.shares[blockIdx.x];
  const GridSegment s = a.segments[share.segment];
  const int groups = LineGroups(s.height), frame = share.first / groups, first = share.first % groups * kLines;
  const int64_t row0 = s.first_row + int64_t{frame} * s.height * s.width;
  const Bf16* x = static_cast<const Bf16*>(a.x.data) + channel;

  float weight[2][9][kVector], bias[2][kVector];
#pragma unroll
  for (int h = 0; h < 2; ++h) {
#pragma unroll
    for (int tap = 0; tap < 9; ++tap) Load<kVector>(a.weight + tap * all + h * half + channel, weight[h][tap]);
    Load<kVector>(a.bias + h * half + channel, bias[h]);
  }

  // Columns before, at and after; of each kLines + 2 lines.
  float window[3][kLines + 2][2][kVector];
  const auto load = [&](int column, float(&to)[kLines + 2][2][kVector]) {
#pragma unroll
    for (int l = 0; l < kLines + 2; ++l) {
      const int line = first + l - 1;
      const bool inside = line >= 0 && line < s.height && column < s.width;
      const Bf16* from = x + (row0 + int64_t{inside ? line : 0} * s.width + (inside ? column : 0)) * a.x.stride;
#pragma unroll
      for (int h = 0; h < 2; ++h) LoadOrZero<kVector>(from + h * half, inside, to[l][h]);
    }
  };
#pragma unroll
  for (int l = 0; l < kLines + 2; ++l) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
#pragma unroll
      for (int j = 0; j < kVector; ++j) window[0][l][h][j] = 0.f;
    }
  }
  load(0, window[1]);
  for (int column = 0; column < s.width; ++column) {
    load(column + 1, window[2]);
#pragma unroll
    for (int l = 0; l < kLines; ++l) {
      if (first + l >= s.height) continue;
      float sum[2][kVector];
#pragma unroll
      for (int h = 0; h < 2; ++h) {
#pragma unroll
        for (int j = 0; j < kVector; ++j) {
          sum[h][j] = bias[h][j];
#pragma unroll
          for (int tap = 0; tap < 9; ++tap) sum[h][j] += weight[h][tap][j] * window[tap % 3][l + tap / 3][h][j];
        }
      }
#pragma unroll
      for (int j = 0; j < kVector; ++j) sum[0][j] *= Silu(sum[1][j]);
      Bf16* to = static_cast<Bf16*>(a.y.data) + (row0 + int64_t{first + l} * s.width + column) * a.y.stride + channel;
      Store<kVector>(to, sum[0]);
    }
#pragma unroll
    for (int l = 0; l < kLines + 2; ++l) {
#pragma unroll
      for (int h = 0; h < 2; ++h) {
#pragma unroll
        for (int j = 0; j < kVector; ++j) {
          window[0][l][h][j] = window[1][l][h][j];
          window[1][l][h][j] = window[2][l][h][j];
        }
      }
    }
  }
}

}  // namespace

void RunDepthwiseGlu(Launcher& launcher, const DepthwiseLaunch& a) {
  const auto launch = [&](auto vector) {
    launcher.Launch("depthwise_glu",
                    {.grid = dim3(static_cast<unsigned>(a.share_count),
                                  static_cast<unsigned>(DivideUp(a.y.cols, kThreads * vector()))),
                     .block = dim3(kThreads)},
                    DepthwiseGluKernel<vector()>, a);
  };
  if (InVectors(2, a.x, a.y)) {
    launch(std::integral_constant<int, 2>());
  } else {
    launch(std::integral_constant<int, 1>());
  }
}

}  // namespace longtake::cuda
