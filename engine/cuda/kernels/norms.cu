#include "engine/cuda/kernels/dispatch.h"
#include "engine/cuda/kernels/elements.h"
#include "engine/cuda/kernels/norms.h"

namespace longtake::cuda {
namespace {

// Four warps a row: 2240 columns are 4.4 float4 a thread, and 16 blocks fill a multiprocessor. The row is kept in
// shared memory (9 KiB), so that it is read once.
constexpr int kThreads = 128;
constexpr int kSums = 32;  // floats of shared memory that BlockSum needs, before the row

// The row into shared memory, each element by the thread that will read it again: no barrier is needed.
template <int kVector, typename In, typename F>
__device__ __forceinline__ void ReadRow(const In* x, int columns, float* row, F&& f) {
  for (int i = threadIdx.x * kVector; i < columns; i += kThreads * kVector) {
    float v[kVector];
    Load<kVector>(x + i, v);
    Store<kVector>(row + i, v);
#pragma unroll
    for (int j = 0; j < kVector; ++j) f(v[j]);
  }
}

template <int kVector>
__global__ void __launch_bounds__(kThreads)
    LayerNormKernel(const float* x, int64_t x_stride, int columns, float eps, Modulation m, Bf16* y, int64_t y_stride) {
  float* shared = SharedMemory<float>();
  float* row = shared + kSums;
  const int64_t n = blockIdx.x;
  float sum = 0.f;
  ReadRow<kVector>(x + n * x_stride, columns, row, [&](float v) { sum += v; });
  const float mean = BlockSum(sum, shared) / columns;
  float squares = 0.f;
  for (int i = threadIdx.x * kVector; i < columns; i += kThreads * kVector) {
#pragma unroll
    for (int j = 0; j < kVector; ++j) {
      const float d = row[i + j] - mean;
      squares += d * d;
    }
  }
  const float inverse = 1.f / sqrtf(BlockSum(squares, shared) / columns + eps);
  const int64_t at = m.scale == nullptr ? 0 : m.mod_row[n] * m.stride;
  for (int i = threadIdx.x * kVector; i < columns; i += kThreads * kVector) {
    float v[kVector];
#pragma unroll
    for (int j = 0; j < kVector; ++j) v[j] = (row[i + j] - mean) * inverse;
    if (m.scale != nullptr) {
#pragma unroll
      for (int j = 0; j < kVector; ++j) v[j] = v[j] * (1.f + m.scale[at + i + j]) + m.shift[at + i + j];
    }
    Store<kVector>(y + n * y_stride + i, v);
  }
}

template <int kVector, typename In, typename Out>
__global__ void __launch_bounds__(kThreads)
    RmsNormKernel(const In* x, int64_t x_stride, int columns, const float* weight, float offset, float eps,
                  bool residual, Out* y, int64_t y_stride) {
  float* shared = SharedMemory<float>();
  float* row = shared + kSums;
  const int64_t n = blockIdx.x;
  float squares = 0.f;
  ReadRow<kVector>(x + n * x_stride, columns, row, [&](float v) { squares += v * v; });
  const float inverse = 1.f / sqrtf(BlockSum(squares, shared) / columns + eps);
  for (int i = threadIdx.x * kVector; i < columns; i += kThreads * kVector) {
    Out* to = y + n * y_stride + i;
    float v[kVector];
    LoadOrZero<kVector>(to, residual, v);
#pragma unroll
    for (int j = 0; j < kVector; ++j) v[j] += row[i + j] * inverse * (weight[i + j] + offset);
    Store<kVector>(to, v);
  }
}

template <int kVector, typename In>
__global__ void __launch_bounds__(kThreads)
    InverseRmsKernel(const In* x, int64_t x_stride, int columns, float eps, float* out) {
  const int64_t n = blockIdx.x;
  float squares = 0.f;
  for (int i = threadIdx.x * kVector; i < columns; i += kThreads * kVector) {
    float v[kVector];
    Load<kVector>(x + n * x_stride + i, v);
#pragma unroll
    for (int j = 0; j < kVector; ++j) squares += v[j] * v[j];
  }
  const float inverse = 1.f / sqrtf(BlockSum(squares, SharedMemory<float>()) / columns + eps);
  if (threadIdx.x == 0) out[n] = inverse;
}

// A warp a row: the VAE's rows have 96 to 384 channels, one to three float4 a lane, read again from the first-level
// cache rather than kept.
template <int kVector, typename In, typename Out>
__global__ void __launch_bounds__(kThreads)
    ChannelNormKernel(const In* x, int64_t x_stride, int64_t rows, int columns, const float* gamma, float eps,
                      bool silu, Out* y, int64_t y_stride) {
  const int lane = threadIdx.x % 32;
  const int64_t n = int64_t{blockIdx.x} * (kThreads / 32) + threadIdx.x / 32;
  if (n >= rows) return;  // all lanes of the warp
  const In* in = x + n * x_stride;
  float squares = 0.f;
  for (int i = lane * kVector; i < columns; i += 32 * kVector) {
    float v[kVector];
    Load<kVector>(in + i, v);
#pragma unroll
    for (int j = 0; j < kVector; ++j) squares += v[j] * v[j];
  }
  const float norm = sqrtf(WarpSum(squares) + static_cast<float>(columns) * eps);
  const float inverse = sqrtf(static_cast<float>(columns)) / fmaxf(norm, 1e-12f);
  for (int i = lane * kVector; i < columns; i += 32 * kVector) {
    float v[kVector];
    Load<kVector>(in + i, v);
#pragma unroll
    for (int j = 0; j < kVector; ++j) {
      v[j] *= gamma == nullptr ? inverse : inverse * gamma[i + j];
      if (silu) v[j] = Silu(v[j]);
    }
    Store<kVector>(y + n * y_stride + i, v);
  }
}

LaunchShape BlockARow(ConstMat x, int64_t row_floats) {
  return {.grid = dim3(static_cast<unsigned>(x.rows)),
          .block = dim3(kThreads),
          .shared_bytes = (kSums + row_floats) * sizeof(float)};
}

// f(vector) with 4 elements at a time where all views allow it.
template <typename F, typename... Views>
void ByVector(F&& f, const Views&... views) {
  if (InVectors(4, views...)) {
    f(std::integral_constant<int, 4>());
  } else {
    f(std::integral_constant<int, 1>());
  }
}

}  // namespace

void RunLayerNorm(Launcher& launcher, ConstMat x, float eps, const Modulation& modulation, Mat y) {
  ByVector(
      [&](auto vector) {
        launcher.Launch("layer_norm", BlockARow(x, x.cols), LayerNormKernel<vector()>,
                        static_cast<const float*>(x.data), x.stride, static_cast<int>(x.cols), eps, modulation,
                        static_cast<Bf16*>(y.data), y.stride);
      },
      x, y);
}

void RunRmsNorm(Launcher& launcher, ConstMat x, const float* weight, float offset, float eps, bool residual, Mat y) {
  ByVector(
      [&](auto vector) {
        ByType(x.dtype, [&](auto in) {
          ByType(y.dtype, [&](auto out) {
            using In = decltype(in);
            using Out = decltype(out);
            launcher.Launch("rms_norm", BlockARow(x, x.cols), RmsNormKernel<vector(), In, Out>,
                            static_cast<const In*>(x.data), x.stride, static_cast<int>(x.cols), weight, offset, eps,
                            residual, static_cast<Out*>(y.data), y.stride);
          });
        });
      },
      x, y);
}

void RunInverseRms(Launcher& launcher, ConstMat x, float eps, float* out) {
  ByVector(
      [&](auto vector) {
        ByType(x.dtype, [&](auto in) {
          using In = decltype(in);
          launcher.Launch("inverse_rms", BlockARow(x, 0), InverseRmsKernel<vector(), In>,
                          static_cast<const In*>(x.data), x.stride, static_cast<int>(x.cols), eps, out);
        });
      },
      x);
}

void RunChannelNorm(Launcher& launcher, ConstMat x, const float* gamma, float eps, bool silu, Mat y) {
  const LaunchShape shape = {.grid = dim3(static_cast<unsigned>(DivideUp(x.rows, kThreads / 32))),
                             .block = dim3(kThreads)};
  ByVector(
      [&](auto vector) {
        ByType(x.dtype, [&](auto in) {
          ByType(y.dtype, [&](auto out) {
            using In = decltype(in);
            using Out = decltype(out);
            launcher.Launch("channel_norm", shape, ChannelNormKernel<vector(), In, Out>, static_cast<const In*>(x.data),
                            x.stride, x.rows, static_cast<int>(x.cols), gamma, eps, silu, static_cast<Out*>(y.data),
                            y.stride);
          });
        });
      },
      x, y);
}

}  // namespace longtake::cuda
