#include "engine/cuda/kernels/dispatch.h"
#include "engine/cuda/kernels/elements.h"
#include "engine/cuda/kernels/grid.h"

namespace longtake::cuda {
namespace {

constexpr int kThreads = 128;

// A thread has kVector channels of both halves and kLines lines, and walks along them. Of each column it loads
// kLines + 2 elements of each half, so that lines are read 1.5 times (from the caches; once from memory) and columns
// once, and adds them to the sums of the three columns of outputs that see them. With two channels these are 48
// registers, the weights 36.
template <int kVector>
__global__ void __launch_bounds__(kThreads, 4) DepthwiseGluKernel(DepthwiseLaunch a) {
  const int64_t half = a.y.columns, all = 2 * half;
  const int64_t channel = (int64_t{blockIdx.y} * kThreads + threadIdx.x) * kVector;
  if (channel >= half) return;
  const Share share = a.shares[blockIdx.x];
  if (share.segment < 0) return;
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

  // Of the columns of outputs before, at and after the column of inputs at hand.
  float sums[3][kLines][2][kVector];
  const auto begin = [&](float(&column)[kLines][2][kVector]) {
#pragma unroll
    for (int l = 0; l < kLines; ++l) {
#pragma unroll
      for (int h = 0; h < 2; ++h) {
#pragma unroll
        for (int j = 0; j < kVector; ++j) column[l][h][j] = bias[h][j];
      }
    }
  };
  float in[kLines + 2][2][kVector];
  const auto load = [&](int column) {
#pragma unroll
    for (int l = 0; l < kLines + 2; ++l) {
      const int line = first + l - 1;
      const bool inside = line >= 0 && line < s.height && column < s.width;
      const Bf16* from = x + (row0 + int64_t{inside ? line : 0} * s.width + (inside ? column : 0)) * a.x.stride;
#pragma unroll
      for (int h = 0; h < 2; ++h) LoadOrZero<kVector>(from + h * half, inside, in[l][h]);
    }
  };
  const auto add = [&] {
#pragma unroll
    for (int dx = 0; dx < 3; ++dx) {
#pragma unroll
      for (int l = 0; l < kLines; ++l) {
#pragma unroll
        for (int dy = 0; dy < 3; ++dy) {
#pragma unroll
          for (int h = 0; h < 2; ++h) {
#pragma unroll
            for (int j = 0; j < kVector; ++j) sums[2 - dx][l][h][j] += weight[h][dy * 3 + dx][j] * in[l + dy][h][j];
          }
        }
      }
    }
  };
  begin(sums[0]);
  begin(sums[1]);
  begin(sums[2]);
  load(0);
  // One column beyond the last, of zeros: the outputs of column `column - 1` are complete.
  for (int column = 0; column <= s.width; ++column) {
    add();
    load(column + 1);
#pragma unroll
    for (int l = 0; l < kLines; ++l) {
      if (column == 0 || first + l >= s.height) continue;
      float out[kVector];
#pragma unroll
      for (int j = 0; j < kVector; ++j) out[j] = sums[0][l][0][j] * Silu(sums[0][l][1][j]);
      Store<kVector>(
          static_cast<Bf16*>(a.y.data) + (row0 + int64_t{first + l} * s.width + column - 1) * a.y.stride + channel,
          out);
    }
#pragma unroll
    for (int l = 0; l < kLines; ++l) {
#pragma unroll
      for (int h = 0; h < 2; ++h) {
#pragma unroll
        for (int j = 0; j < kVector; ++j) {
          sums[0][l][h][j] = sums[1][l][h][j];
          sums[1][l][h][j] = sums[2][l][h][j];
        }
      }
    }
    begin(sums[2]);
  }
}

}  // namespace

void RunDepthwiseGlu(Launcher& launcher, const DepthwiseLaunch& a) {
  const auto launch = [&](auto vector) {
    launcher.Launch("depthwise_glu",
                    {.grid = dim3(static_cast<unsigned>(a.share_count),
                                  static_cast<unsigned>(DivideUp(a.y.columns, kThreads * vector()))),
                     .block = dim3(kThreads)},
                    DepthwiseGluKernel<vector()>, a);
  };
  if (a.y.columns % 2 == 0 && a.x.stride % 2 == 0 && a.y.stride % 2 == 0) {
    launch(std::integral_constant<int, 2>());
  } else {
    launch(std::integral_constant<int, 1>());
  }
}

}  // namespace longtake::cuda
