#include <algorithm>

#include "engine/cuda/kernels/dispatch.h"
#include "engine/cuda/kernels/elements.h"
#include "engine/cuda/kernels/shuffle.h"

namespace longtake::cuda {
namespace {

constexpr int kThreads = 128;  // LTX-2 has 128 to 1024 channels

// The fine frame's row of position `number` of the coarse frame's row, both within one frame.
__device__ __forceinline__ int64_t FineRow(const ShuffleLaunch& s, int64_t coarse, int number) {
  const int64_t y = coarse / s.width * s.h + number / s.w, x = coarse % s.width * s.w + number % s.w;
  return y * (int64_t{s.width} * s.w) + x;
}

// A block has one row of the coarse frame, up to 16 KiB, which stays in the L1 cache while all its positions are
// written: the reads, `volume` floats apart, cost no more memory traffic than rows would. `repeated`: channels of the
// residual for each position.
__global__ void __launch_bounds__(kThreads)
    DepthToSpaceKernel(ShuffleLaunch s, Rows in, Rows residual, int repeated, MutableRows out) {
  const float* from = RowAt<float>(in, blockIdx.x) + s.first;
  const float* add = residual.data == nullptr ? nullptr : RowAt<float>(residual, blockIdx.x) + s.first;
  for (int number = 0; number < s.h * s.w; ++number) {
    float* to = RowAt<float>(out, FineRow(s, blockIdx.x, number));
    for (int c = threadIdx.x; c < out.columns; c += kThreads) {
      float v = from[c * s.volume + number];
      if (add != nullptr) v += add[c % repeated * s.volume + number];
      to[c] = v;
    }
  }
}

// A block has one row of the coarse frame. `group`: successive channels of the residual, in the coarse frame's order,
// whose mean is added to one of `out`.
__global__ void __launch_bounds__(kThreads)
    SpaceToDepthKernel(ShuffleLaunch s, Rows in, Rows residual, int group, int begin, MutableRows out) {
  const int64_t row = blockIdx.x;
  // The position of a coarse channel in this launch's frame; below 0 or too large: in another frame.
  const auto position = [&s](int channel) { return channel % s.volume - s.first; };
  const auto here = [&s](int number) { return number >= 0 && number < s.h * s.w; };
  float* to = RowAt<float>(out, row);
  for (int o = threadIdx.x; o < out.columns; o += kThreads) {
    float v = begin != 0 ? 0.f : to[o];
    if (const int number = position(o); here(number)) v += RowAt<float>(in, FineRow(s, row, number))[o / s.volume];
    float sum = 0.f;
    for (int c = o * group; c < (o + 1) * group; ++c) {
      if (const int number = position(c); here(number))
        sum += RowAt<float>(residual, FineRow(s, row, number))[c / s.volume];
    }
    to[o] = v + sum / static_cast<float>(group);
  }
}

LaunchShape ABlockEach(int64_t rows) { return {.grid = dim3(static_cast<unsigned>(rows)), .block = dim3(kThreads)}; }

}  // namespace

void RunDepthToSpace(Launcher& launcher, const ShuffleLaunch& shape, ConstMat in, ConstMat residual, Mat out) {
  const int repeated = std::max(1, static_cast<int>(residual.cols / shape.volume));
  launcher.Launch("depth_to_space", ABlockEach(in.rows), DepthToSpaceKernel, shape, RowsOf(in), RowsOf(residual),
                  repeated, RowsOf(out));
}

void RunSpaceToDepth(Launcher& launcher, const ShuffleLaunch& shape, ConstMat in, ConstMat residual, bool begin,
                     Mat out) {
  const int group = static_cast<int>(residual.cols * shape.volume / out.cols);
  launcher.Launch("space_to_depth", ABlockEach(out.rows), SpaceToDepthKernel, shape, RowsOf(in), RowsOf(residual),
                  group, static_cast<int>(begin), RowsOf(out));
}

}  // namespace longtake::cuda
