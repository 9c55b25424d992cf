#include "engine/cuda/kernels/dense.h"
#include "engine/cuda/kernels/elements.h"
#include "engine/quantization/formats.h"

namespace longtake::cuda {
namespace {

// A block a row; 2240 columns are 560 vectors of four.
constexpr int kThreads = 256;

__device__ __forceinline__ float Apply(Activation a, float x) {
  switch (a) {
    case Activation::kNone:
      return x;
    case Activation::kSilu:
      return Silu(x);
    case Activation::kGeluTanh:
      return GeluTanh(x);
    case Activation::kSigmoid:
      return Sigmoid(x);
    case Activation::kRelu:
      return Relu(x);
    case Activation::kSoftClamp:
      return 3.f * tanhf(x / 3.f);
  }
  return x;
}

template <int kWidth, typename Acc, typename T>
__global__ void EpilogueKernel(EpilogueArgs a) {
  const int64_t row = blockIdx.x;
  const float* gate = a.gate == nullptr ? nullptr : a.gate + a.mod_row[row] * a.gate_stride;
  const Bf16* add = a.add == nullptr ? nullptr : static_cast<const Bf16*>(a.add) + row * a.add_stride;
  T* y = static_cast<T*>(a.y) + row * a.y_stride;
  for (int64_t c = static_cast<int64_t>(threadIdx.x) * kWidth; c < a.columns; c += kThreads * kWidth) {
    float acc[kWidth], other[kWidth];
    Load<kWidth>(static_cast<const Acc*>(a.acc) + row * a.acc_stride + c, acc);
    if (add != nullptr) {
      Load<kWidth>(add + c, other);
      for (int i = 0; i < kWidth; ++i) acc[i] += other[i];
    }
    if (a.bias != nullptr) {
      Load<kWidth>(a.bias + c, other);
      for (int i = 0; i < kWidth; ++i) acc[i] += other[i];
    }
    for (int i = 0; i < kWidth; ++i) acc[i] = Apply(a.activation, acc[i]);
    if (a.residual) {
      if (gate != nullptr) {
        Load<kWidth>(gate + c, other);
        for (int i = 0; i < kWidth; ++i) acc[i] *= other[i];
      }
      Load<kWidth>(y + c, other);
      for (int i = 0; i < kWidth; ++i) acc[i] += other[i];
    }
    Store<kWidth>(y + c, acc);
  }
}

__global__ void GateKernel(Activation activation, int64_t columns, const float* acc, int64_t acc_stride, Bf16* y,
                           int64_t y_stride) {
  const float* from = acc + static_cast<int64_t>(blockIdx.x) * acc_stride;
  Bf16* to = y + static_cast<int64_t>(blockIdx.x) * y_stride;
  for (int64_t c = threadIdx.x; c < columns; c += kThreads)
    to[c] = ToBf16(Apply(activation, from[c]) * from[columns + c]);
}

__global__ void PadKernel(int64_t columns, const Bf16* x, int64_t stride, Bf16* y, int64_t y_stride) {
  const Bf16* from = x + static_cast<int64_t>(blockIdx.x) * stride;
  Bf16* to = y + static_cast<int64_t>(blockIdx.x) * y_stride;
  for (int64_t c = threadIdx.x; c < y_stride; c += kThreads) to[c] = c < columns ? from[c] : ToBf16(0.f);
}

// The largest magnitude of a row, to every thread. `shared` is 32 floats.
template <int kVector>
__device__ float RowMax(const Bf16* row, int64_t columns, float* shared) {
  float largest = 0.f;
  for (int64_t c = threadIdx.x * kVector; c < columns; c += kThreads * kVector) {
    float v[kVector];
    Load<kVector>(row + c, v);
#pragma unroll
    for (int i = 0; i < kVector; ++i) largest = fmaxf(largest, fabsf(v[i]));
  }
  largest = WarpMax(largest);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = largest;
  SyncBlock();
  for (int warp = 0; warp < kThreads / 32; ++warp) largest = fmaxf(largest, shared[warp]);
  return largest;
}

// With 8 elements at a time: 7 instructions an element, where one at a time takes 16.
template <int kVector>
__global__ void QuantizeE4m3Kernel(int64_t columns, const Bf16* x, int64_t stride, uint8_t* y, int64_t y_stride,
                                   float* scales) {
  const int64_t row = blockIdx.x;
  const Bf16* from = x + row * stride;
  const float largest = RowMax<kVector>(from, columns, SharedMemory<float>());
  // A row of zeros has the scale 1, so that no factor is infinite.
  const float scale = largest > 0.f ? largest / kLargestE4m3 : 1.f;
  if (threadIdx.x == 0) scales[row] = scale;
  const float inverse = 1.f / scale;
  uint8_t* const to = y + row * y_stride;
  for (int64_t c = threadIdx.x * kVector; c < y_stride; c += kThreads * kVector) {
    float v[kVector];
    LoadOrZero<kVector>(from + c, c < columns, v);
    if constexpr (kVector == 1) {
      to[c] = static_cast<uint8_t>(PackE4m3(v[0] * inverse, 0.f));
    } else {
      uint32_t words[kVector / 4];
#pragma unroll
      for (int i = 0; i < kVector; i += 4) {
        words[i / 4] = PackE4m3(v[i] * inverse, v[i + 1] * inverse) | PackE4m3(v[i + 2] * inverse, v[i + 3] * inverse)
                                                                          << 16;
      }
      *reinterpret_cast<uint2*>(to + c) = make_uint2(words[0], words[1]);
    }
  }
}

// A thread a block of 16 elements.
__global__ void QuantizeNvfp4Kernel(int64_t columns, const Bf16* x, int64_t stride, float tensor_scale, uint8_t* y,
                                    int64_t y_columns, uint8_t* scales) {
  const int64_t row = blockIdx.x, blocks = y_columns / kNvfp4Block;
  const Bf16* from = x + row * stride;
  for (int64_t b = threadIdx.x; b < blocks; b += kThreads) {
    float v[kNvfp4Block], largest = 0.f;
    for (int i = 0; i < kNvfp4Block; ++i) {
      const int64_t c = b * kNvfp4Block + i;
      v[i] = c < columns ? ToFloat(from[c]) : 0.f;
      largest = fmaxf(largest, fabsf(v[i]));
    }
    float inverse;
    scales[Nvfp4ScaleOffset(row, b, blocks)] = Nvfp4Scale(largest, tensor_scale, &inverse);
    uint8_t* to = y + row * (y_columns / 2) + b * (kNvfp4Block / 2);
    for (int i = 0; i < kNvfp4Block; i += 2) {
      to[i / 2] = static_cast<uint8_t>(EncodeE2m1(v[i] * inverse) | EncodeE2m1(v[i + 1] * inverse) << 4);
    }
  }
}

bool Aligned(const void* p, int64_t stride, int64_t element_bytes) {
  const int64_t bytes = 4 * element_bytes;
  return reinterpret_cast<uintptr_t>(p) % static_cast<uintptr_t>(bytes) == 0 && stride % 4 == 0;
}

LaunchShape ARowABlock(int64_t rows, size_t shared_bytes = 0) {
  return {dim3(static_cast<unsigned>(rows)), dim3(kThreads), shared_bytes};
}

}  // namespace

void RunEpilogue(Launcher& launcher, const EpilogueArgs& a) {
  const bool wide = a.columns % 4 == 0 && Aligned(a.acc, a.acc_stride, a.acc_f32 ? 4 : 2) && Aligned(a.bias, 0, 4) &&
                    Aligned(a.add, a.add_stride, 2) && Aligned(a.gate, a.gate_stride, 4) &&
                    Aligned(a.y, a.y_stride, a.y_f32 ? 4 : 2);
  const auto launch = [&](auto acc, auto y) {
    using Acc = decltype(acc);
    using T = decltype(y);
    launcher.Launch("epilogue", ARowABlock(a.rows), wide ? EpilogueKernel<4, Acc, T> : EpilogueKernel<1, Acc, T>, a);
  };
  if (!a.acc_f32) {
    launch(Bf16(), float());
  } else if (a.y_f32) {
    launch(float(), float());
  } else {
    launch(float(), Bf16());
  }
}

void RunGate(Launcher& launcher, Activation activation, int64_t rows, int64_t columns, const float* acc,
             int64_t acc_stride, void* y, int64_t y_stride) {
  launcher.Launch("gate", ARowABlock(rows), GateKernel, activation, columns, acc, acc_stride, static_cast<Bf16*>(y),
                  y_stride);
}

void RunPad(Launcher& launcher, int64_t rows, int64_t columns, const void* x, int64_t stride, void* y,
            int64_t y_stride) {
  launcher.Launch("pad", ARowABlock(rows), PadKernel, columns, static_cast<const Bf16*>(x), stride,
                  static_cast<Bf16*>(y), y_stride);
}

void RunQuantizeE4m3(Launcher& launcher, int64_t rows, int64_t columns, const void* x, int64_t stride, void* y,
                     int64_t y_stride, float* scales) {
  // Eight codes are 8 bytes, eight elements 16.
  const bool wide = columns % 8 == 0 && stride % 8 == 0 && y_stride % 8 == 0 && Aligned(x, 0, 4) && Aligned(y, 0, 2);
  launcher.Launch("quantize to e4m3", ARowABlock(rows, 32 * sizeof(float)),
                  wide ? QuantizeE4m3Kernel<8> : QuantizeE4m3Kernel<1>, columns, static_cast<const Bf16*>(x), stride,
                  static_cast<uint8_t*>(y), y_stride, scales);
}

void RunQuantizeNvfp4(Launcher& launcher, int64_t rows, int64_t columns, const void* x, int64_t stride,
                      float tensor_scale, void* y, int64_t y_columns, void* scales) {
  launcher.Launch("quantize to nvfp4", ARowABlock(rows), QuantizeNvfp4Kernel, columns, static_cast<const Bf16*>(x),
                  stride, tensor_scale, static_cast<uint8_t*>(y), y_columns, static_cast<uint8_t*>(scales));
}

}  // namespace longtake::cuda
