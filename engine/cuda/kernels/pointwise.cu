#include <cmath>

#include "engine/cuda/kernels/dispatch.h"
#include "engine/cuda/kernels/elements.h"
#include "engine/cuda/kernels/pointwise.h"

namespace longtake::cuda {
namespace {

constexpr int kThreads = 256;

LaunchShape AThreadEach(int64_t n) {
  return {.grid = dim3(static_cast<unsigned>(DivideUp(n, kThreads))), .block = dim3(kThreads)};
}
// Blocks of 256 threads over a row's columns, rows along y: grids have at most 65 535 of these, so rows go along x.
LaunchShape RowsAndColumns(int64_t rows, int64_t columns) {
  return {.grid = dim3(static_cast<unsigned>(rows), static_cast<unsigned>(DivideUp(columns, kThreads))),
          .block = dim3(kThreads)};
}

template <Activation kActivation>
__device__ __forceinline__ float Apply(float x) {
  if constexpr (kActivation == Activation::kSilu) return Silu(x);
  if constexpr (kActivation == Activation::kGeluTanh) return GeluTanh(x);
  if constexpr (kActivation == Activation::kSigmoid) return Sigmoid(x);
  if constexpr (kActivation == Activation::kRelu) return Relu(x);
  if constexpr (kActivation == Activation::kSoftClamp) return 3.f * tanhf(x / 3.f);
  return x;
}

template <int kVector, Activation kActivation, typename In, typename Out>
__global__ void __launch_bounds__(kThreads)
    ActivateKernel(const In* x, int64_t x_stride, int columns, int64_t end, Out* y, int64_t y_stride) {
  const int64_t n = blockIdx.x;
  const int i = (blockIdx.y * kThreads + threadIdx.x) * kVector;
  if (i >= columns || n * x_stride + i >= end) return;
  float v[kVector];
  Load<kVector>(x + n * x_stride + i, v);
#pragma unroll
  for (int j = 0; j < kVector; ++j) v[j] = Apply<kActivation>(v[j]);
  Store<kVector>(y + n * y_stride + i, v);
}

__global__ void __launch_bounds__(kThreads)
    AddRowKernel(const float* x, int64_t x_stride, int columns, const float* row, float* y, int64_t y_stride) {
  const int64_t n = blockIdx.x;
  const int i = blockIdx.y * kThreads + threadIdx.x;
  if (i < columns) y[n * y_stride + i] = x[n * x_stride + i] + row[i];
}

__global__ void __launch_bounds__(kThreads)
    EmbedKernel(const Bf16* table, const int32_t* ids, int columns, float scale, float* y, int64_t y_stride) {
  const int64_t n = blockIdx.x;
  const int i = blockIdx.y * kThreads + threadIdx.x;
  if (i < columns) y[n * y_stride + i] = ToFloat(table[int64_t{ids[n]} * columns + i]) * scale;
}

template <typename Out>
__global__ void __launch_bounds__(kThreads)
    TimestepSinusoidsKernel(const float* t, int half, Out* y, int64_t y_stride) {
  const int64_t n = blockIdx.x;
  const int i = blockIdx.y * kThreads + threadIdx.x;
  if (i >= half) return;
  // Frequency and angle are rounded to float32 where the definition rounds them; a few rows, so double costs nothing.
  const float exponent = -static_cast<float>(9.210340371976184) * static_cast<float>(i) / static_cast<float>(half);
  const float frequency = static_cast<float>(exp(static_cast<double>(exponent)));
  const float angle = t[n] * frequency;
  const float c[1] = {static_cast<float>(cos(static_cast<double>(angle)))};
  const float s[1] = {static_cast<float>(sin(static_cast<double>(angle)))};
  Store<1>(y + n * y_stride + i, c);
  Store<1>(y + n * y_stride + half + i, s);
}

__global__ void __launch_bounds__(kThreads) CombineKernel(CombineTerms terms, int64_t n, float* out) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= n) return;
  float sum = 0.f;
#pragma unroll  // the arguments are registers then, not an array in memory
  for (int k = 0; k < CombineTerms::kMost; ++k) {
    if (k < terms.count) sum += terms.weight[k] * terms.x[k][i];
  }
  out[i] = sum;
}

// Philox4x32-10 and Box-Muller as in core/philox.h, which is host code. In double as there: a block's noise is a
// million numbers at 480p, once a step.
__global__ void __launch_bounds__(kThreads)
    FillNormalKernel(uint32_t seed_low, uint32_t seed_high, uint32_t block, uint32_t step, int64_t n, float* out) {
  const int64_t quad = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (quad * 4 >= n) return;
  uint32_t c[4] = {static_cast<uint32_t>(quad), static_cast<uint32_t>(quad >> 32), block, step};
  uint32_t key[2] = {seed_low, seed_high};
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c[0], p1 = uint64_t{0xCD9E8D57u} * c[2];
    c[0] = static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ key[0];
    c[1] = static_cast<uint32_t>(p1);
    c[2] = static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ key[1];
    c[3] = static_cast<uint32_t>(p0);
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  for (int i = 0; i < 2; ++i) {
    const double u = (c[2 * i] + 0.5) * 0x1p-32;
    const double angle = 6.283185307179586 * ((c[2 * i + 1] + 0.5) * 0x1p-32);
    const double radius = sqrt(-2.0 * log(u));
    if (quad * 4 + 2 * i < n) out[quad * 4 + 2 * i] = static_cast<float>(radius * cos(angle));
    if (quad * 4 + 2 * i + 1 < n) out[quad * 4 + 2 * i + 1] = static_cast<float>(radius * sin(angle));
  }
}

template <Activation kActivation>
void LaunchActivate(Launcher& launcher, ConstMat x, Mat y) {
  int64_t end = INT64_MAX;
  bool in_fours = InVectors(4, x, y);
  if (x.stride == x.cols && y.stride == y.cols) {
    // One long row, cut into rows of a block's width: the VAE's frames are tall and narrow. The kernel compares a
    // thread's first element with `end`, so the elements are taken in fours only where their number is a multiple of 4.
    end = x.rows * x.cols;
    x.rows = y.rows = 1;
    x.cols = x.stride = y.cols = y.stride = end;
    in_fours = InVectors(4, x, y);
    const int64_t width = kThreads * (in_fours ? 4 : 1);
    x.rows = y.rows = DivideUp(end, width);
    x.cols = x.stride = y.cols = y.stride = width;
  }
  const auto launch = [&](auto vector) {
    ByType(x.dtype, [&](auto in) {
      ByType(y.dtype, [&](auto out) {
        using In = decltype(in);
        using Out = decltype(out);
        launcher.Launch("activate", RowsAndColumns(x.rows, DivideUp(x.cols, vector())),
                        ActivateKernel<vector(), kActivation, In, Out>, static_cast<const In*>(x.data), x.stride,
                        static_cast<int>(x.cols), end, static_cast<Out*>(y.data), y.stride);
      });
    });
  };
  if (in_fours) {
    launch(std::integral_constant<int, 4>());
  } else {
    launch(std::integral_constant<int, 1>());
  }
}

// Sixteen bytes at a time where both ends and the length allow it.
__global__ void __launch_bounds__(kThreads) CopyEachKernel(const CopyRange* ranges, const Share* shares) {
  const Share share = shares[blockIdx.x];
  if (share.segment < 0) return;
  const CopyRange part = ranges[share.segment];
  const int64_t first = share.first, left = part.bytes - first;
  const int bytes = static_cast<int>(left < kCopyBytes ? left : kCopyBytes);
  const unsigned char* from = static_cast<const unsigned char*>(part.from) + first;
  unsigned char* to = static_cast<unsigned char*>(part.to) + first;
  if ((reinterpret_cast<uintptr_t>(from) | reinterpret_cast<uintptr_t>(to) | static_cast<uintptr_t>(bytes)) % 16 == 0) {
    for (int i = threadIdx.x; i < bytes / 16; i += kThreads) {
      reinterpret_cast<uint4*>(to)[i] = reinterpret_cast<const uint4*>(from)[i];
    }
  } else {
    for (int i = threadIdx.x; i < bytes; i += kThreads) to[i] = from[i];
  }
}

}  // namespace

cudaError_t CheckKernelsLoad() { return LoadKernel(AddRowKernel); }

void RunActivate(Launcher& launcher, ConstMat x, Activation activation, Mat y) {
  switch (activation) {
    case Activation::kNone:
      return LaunchActivate<Activation::kNone>(launcher, x, y);
    case Activation::kSilu:
      return LaunchActivate<Activation::kSilu>(launcher, x, y);
    case Activation::kGeluTanh:
      return LaunchActivate<Activation::kGeluTanh>(launcher, x, y);
    case Activation::kSigmoid:
      return LaunchActivate<Activation::kSigmoid>(launcher, x, y);
    case Activation::kRelu:
      return LaunchActivate<Activation::kRelu>(launcher, x, y);
    case Activation::kSoftClamp:
      return LaunchActivate<Activation::kSoftClamp>(launcher, x, y);
  }
}

void RunAddRow(Launcher& launcher, ConstMat x, const float* row, Mat y) {
  launcher.Launch("add_row", RowsAndColumns(x.rows, x.cols), AddRowKernel, static_cast<const float*>(x.data), x.stride,
                  static_cast<int>(x.cols), row, static_cast<float*>(y.data), y.stride);
}

void RunEmbed(Launcher& launcher, const void* table, const int32_t* ids, float scale, Mat y) {
  launcher.Launch("embed", RowsAndColumns(y.rows, y.cols), EmbedKernel, static_cast<const Bf16*>(table), ids,
                  static_cast<int>(y.cols), scale, static_cast<float*>(y.data), y.stride);
}

void RunTimestepSinusoids(Launcher& launcher, const float* t, Mat y) {
  const int half = static_cast<int>(y.cols / 2);
  ByType(y.dtype, [&](auto out) {
    using Out = decltype(out);
    launcher.Launch("timestep_sinusoids", RowsAndColumns(y.rows, half), TimestepSinusoidsKernel<Out>, t, half,
                    static_cast<Out*>(y.data), y.stride);
  });
}

void RunCopyEach(Launcher& launcher, const CopyRange* ranges, const Share* shares, int64_t share_count) {
  launcher.Launch("copy_each", {.grid = dim3(static_cast<unsigned>(share_count)), .block = dim3(kThreads)},
                  CopyEachKernel, ranges, shares);
}

void RunCombine(Launcher& launcher, const CombineTerms& terms, int64_t n, float* out) {
  launcher.Launch("combine", AThreadEach(n), CombineKernel, terms, n, out);
}

void RunFillNormal(Launcher& launcher, uint64_t seed, uint32_t block, uint32_t step, int64_t n, float* out) {
  launcher.Launch("fill_normal", AThreadEach(DivideUp(n, 4)), FillNormalKernel, static_cast<uint32_t>(seed),
                  static_cast<uint32_t>(seed >> 32), block, step, n, out);
}

}  // namespace longtake::cuda
