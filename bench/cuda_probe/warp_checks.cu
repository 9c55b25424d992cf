#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

#include "bench/cuda_probe/warp_checks.h"
#include "engine/cuda/warp.h"
#include "engine/quantization/formats.h"

namespace longtake::probe {
namespace {

using namespace cuda;  // NOLINT: all of warp.h

constexpr int kThreads = 64;  // two warps
constexpr int kNumbers = 512;

// Numbers that bf16 and TF32 hold exactly, and whose products and sums float32 does.
float Value(int i) { return static_cast<float>(i * 37 % 64 - 31) / 8.f; }

__device__ int Lane() { return static_cast<int>(threadIdx.x) % 32; }

// ---- Kernels: `in` are kNumbers values, `out` as many results.
// -------------------------------------------------------

// 16x16 by 16x8 in bf16, row-major A at in, B at in + 256; D [16, 8], by the first warp.
__device__ void StoreProduct(const float (&d)[4], float* out) {
  const int g = Lane() / 4, i = Lane() % 4;
  for (int j = 0; j < 4; ++j) out[(g + j / 2 * 8) * 8 + 2 * i + j % 2] = d[j];
}
__global__ void MmaBf16Kernel(const float* in, float* out) {
  if (threadIdx.x >= 32) return;
  const int g = Lane() / 4, i = Lane() % 4;
  const float *A = in, *B = in + 256;
  const auto a_pair = [&](int row, int k) { return PackBf16(A[row * 16 + k], A[row * 16 + k + 1]); };
  const auto b_pair = [&](int k, int column) { return PackBf16(B[k * 8 + column], B[(k + 1) * 8 + column]); };
  const uint32_t a[4] = {a_pair(g, 2 * i), a_pair(g + 8, 2 * i), a_pair(g, 2 * i + 8), a_pair(g + 8, 2 * i + 8)};
  const uint32_t b[2] = {b_pair(2 * i, g), b_pair(2 * i + 8, g)};
  float d[4] = {1.f, 1.f, 1.f, 1.f};
  MmaBf16(d, a, b);
  StoreProduct(d, out);
}
__global__ void MmaTf32Kernel(const float* in, float* out) {
  if (threadIdx.x >= 32) return;
  const int g = Lane() / 4, i = Lane() % 4;
  const float *A = in, *B = in + 256;
  const auto a_at = [&](int row, int k) { return ToTf32(A[row * 16 + k]); };
  const uint32_t a[4] = {a_at(g, i), a_at(g + 8, i), a_at(g, i + 4), a_at(g + 8, i + 4)};
  const uint32_t b[2] = {ToTf32(B[i * 8 + g]), ToTf32(B[(i + 4) * 8 + g])};
  float d[4] = {1.f, 1.f, 1.f, 1.f};
  MmaTf32(d, a, b);
  StoreProduct(d, out);
}
// The same product with fragments from shared memory: A by the plain load, B by the transposed one.
__global__ void LoadMatrixKernel(const float* in, float* out) {
  if (threadIdx.x >= 32) return;
  Bf16* a_shared = SharedMemory<Bf16>();
  Bf16* b_shared = a_shared + 256;
  for (int i = Lane(); i < 256; i += 32) a_shared[i] = ToBf16(in[i]);
  for (int i = Lane(); i < 128; i += 32) b_shared[i] = ToBf16(in[256 + i]);
  SyncWarp();
  const int matrix = Lane() / 8, row = Lane() % 8;
  uint32_t a[4], b[4];
  LoadMatrix4(a, a_shared + (row + matrix % 2 * 8) * 16 + matrix / 2 * 8);
  LoadMatrix4Transposed(b, b_shared + (row + matrix % 2 * 8) * 8);
  const uint32_t both[2] = {b[0], b[1]};
  float d[4] = {1.f, 1.f, 1.f, 1.f};
  MmaBf16(d, a, both);
  StoreProduct(d, out);
}
// A thread's number and its neighbour's to bf16 and back, alone and packed.
__global__ void RoundingKernel(const float* in, float* out) {
  const float a = in[threadIdx.x] / 3.f, b = in[threadIdx.x + 1] / 3.f;
  const uint32_t pair = PackBf16(a, b);
  out[4 * threadIdx.x] = LowFloat(pair);
  out[4 * threadIdx.x + 1] = HighFloat(pair);
  out[4 * threadIdx.x + 2] = ToFloat(ToBf16(a));
  out[4 * threadIdx.x + 3] = __uint_as_float(ToTf32(a) & 0xffffe000u);  // products read no more
}
// e4m3 codes of two numbers, and powers of two of whole numbers, which are exact.
__global__ void NarrowKernel(const float* in, float* out) {
  const uint32_t pair = PackE4m3(in[threadIdx.x] * 37.f, in[threadIdx.x + 1] / 3.f);
  out[4 * threadIdx.x] = static_cast<float>(pair & 0xffu);
  out[4 * threadIdx.x + 1] = static_cast<float>(pair >> 8);
  out[4 * threadIdx.x + 2] = FastExp2(truncf(in[threadIdx.x]));
  out[4 * threadIdx.x + 3] = FastExp2(-127.f - static_cast<float>(threadIdx.x));
}
// Whether tanh is off by at most 2^-11 of its value (and a little for the comparison), and its values at the ends.
__global__ void TanhKernel(const float* in, float* out) {
  const float exact = tanhf(in[threadIdx.x]), off = FastTanh(in[threadIdx.x]) - exact;
  out[4 * threadIdx.x] = fabsf(off) <= 0x1.1p-11f * fabsf(exact) ? 1.f : 0.f;
  out[4 * threadIdx.x + 1] = FastTanh(0.f);
  out[4 * threadIdx.x + 2] = FastTanh(100.f);
  out[4 * threadIdx.x + 3] = FastTanh(-100.f);
}
__global__ void ShuffleKernel(const float* in, float* out) {
  const float v = in[threadIdx.x];
  const uint32_t positive = Ballot(v > 0.f);
  out[4 * threadIdx.x] = ShuffleXor(v, 5);
  out[4 * threadIdx.x + 1] = Shuffle(v, 3);
  out[4 * threadIdx.x + 2] = static_cast<float>(Shuffle(static_cast<uint32_t>(threadIdx.x), 7));
  out[4 * threadIdx.x + 3] = ((positive >> Lane()) & 1u) != 0 ? 1.f : 0.f;
}
__global__ void SumKernel(const float* in, float* out) {
  const float v = in[threadIdx.x];
  out[4 * threadIdx.x] = WarpSum(v);
  out[4 * threadIdx.x + 1] = WarpMax(v);
  out[4 * threadIdx.x + 2] = BlockSum(v, SharedMemory<float>());
  out[4 * threadIdx.x + 3] = 0.f;
}
// Two groups of copies, every second source not valid, each waited for as a ring of stages would.
__global__ void CopyKernel(const float* in, float* out) {
  float* shared = SharedMemory<float>();
  for (int stage = 0; stage < 2; ++stage) {
    CopyAsync16(shared + stage * 256 + 4 * threadIdx.x, in + stage * 256 + 4 * threadIdx.x, threadIdx.x % 2 == 0);
    CommitCopies();
  }
  WaitCopies<1>();
  SyncBlock();
  for (int j = 0; j < 4; ++j) out[4 * threadIdx.x + j] = shared[255 - (4 * threadIdx.x + j)];
  WaitCopies<0>();
  SyncBlock();
  for (int j = 0; j < 4; ++j) out[256 + 4 * threadIdx.x + j] = shared[511 - (4 * threadIdx.x + j)];
}

// ---- Definitions
// -----------------------------------------------------------------------------------------------------

using Numbers = std::vector<float>;

Numbers Product(const Numbers& in, int inner) {
  Numbers out(128);
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      float sum = 1.f;
      for (int k = 0; k < inner; ++k) sum += in[row * 16 + k] * in[256 + k * 8 + column];
      out[row * 8 + column] = sum;
    }
  }
  return out;
}

// To `bits` bits of mantissa, ties to even or (TF32) away from zero.
float Rounded(float x, int bits, bool ties_to_even) {
  if (x == 0.f) return x;
  int exponent = 0;
  const float fraction = std::frexp(x, &exponent), scale = std::ldexp(1.f, bits + 1);
  const float scaled = fraction * scale;
  return std::ldexp((ties_to_even ? std::nearbyint(scaled) : std::round(scaled)) / scale, exponent);
}

Numbers Each(const std::function<std::array<float, 4>(int thread)>& f) {
  Numbers out;
  for (int t = 0; t < kThreads; ++t) {
    for (const float v : f(t)) out.push_back(v);
  }
  return out;
}

}  // namespace

std::vector<WarpCheck> CheckWarpFunctions(cudaStream_t stream) {
  Numbers in(kNumbers);
  for (int i = 0; i < kNumbers; ++i) in[i] = Value(i);
  const auto warp_sum = [&](int t) {
    float sum = 0.f;
    for (int l = 0; l < 32; ++l) sum += in[t / 32 * 32 + l];
    return sum;
  };
  const auto warp_max = [&](int t) { return *std::max_element(&in[t / 32 * 32], &in[t / 32 * 32] + 32); };
  struct Case {
    const char* name;
    void (*kernel)(const float*, float*);
    Numbers expected;
  };
  const std::vector<Case> cases = {
      {"MmaBf16, PackBf16", MmaBf16Kernel, Product(in, 16)},
      {"MmaTf32, ToTf32", MmaTf32Kernel, Product(in, 8)},
      {"LoadMatrix4, LoadMatrix4Transposed", LoadMatrixKernel, Product(in, 16)},
      {"roundings to bf16 and TF32", RoundingKernel, Each([&](int t) {
         const float a = in[t] / 3.f, b = in[t + 1] / 3.f;
         return std::array{Rounded(a, 7, true), Rounded(b, 7, true), Rounded(a, 7, true), Rounded(a, 10, false)};
       })},
      {"PackE4m3, FastExp2", NarrowKernel, Each([&](int t) {
         return std::array{static_cast<float>(EncodeE4m3(in[t] * 37.f)),
                           static_cast<float>(EncodeE4m3(in[t + 1] / 3.f)), std::exp2(std::trunc(in[t])), 0.f};
       })},
      {"FastTanh", TanhKernel, Each([&](int) {
         return std::array{1.f, 0.f, 1.f, -1.f};
       })},
      {"ShuffleXor, Shuffle, Ballot", ShuffleKernel, Each([&](int t) {
         const int warp = t / 32 * 32;
         return std::array{in[warp + ((t % 32) ^ 5)], in[warp + 3], static_cast<float>(warp + 7),
                           in[t] > 0 ? 1.f : 0.f};
       })},
      {"WarpSum, WarpMax, BlockSum", SumKernel, Each([&](int t) {
         return std::array{warp_sum(t), warp_max(t), warp_sum(0) + warp_sum(32), 0.f};
       })},
      {"CopyAsync16, CommitCopies, WaitCopies", CopyKernel,
       [&] {
         Numbers out(kNumbers);
         for (int i = 0; i < kNumbers; ++i) {
           const int at = i / 256 * 256 + 255 - i % 256;
           out[i] = at % 256 / 4 % 2 == 0 ? in[at] : 0.f;
         }
         return out;
       }()},
  };

  std::vector<WarpCheck> checks;
  void *device_in = nullptr, *device_out = nullptr;
  cudaMalloc(&device_in, kNumbers * sizeof(float));
  cudaMalloc(&device_out, kNumbers * sizeof(float));
  cudaMemcpyAsync(device_in, in.data(), kNumbers * sizeof(float), cudaMemcpyHostToDevice, stream);
  for (const Case& c : cases) {
    WarpCheck& check = checks.emplace_back(WarpCheck{c.name, ""});
    cudaMemsetAsync(device_out, 0xff, kNumbers * sizeof(float), stream);
    cudaError_t error = LaunchKernel(c.kernel, dim3(1), dim3(kThreads), 2048, stream,
                                     static_cast<const float*>(device_in), static_cast<float*>(device_out));
    Numbers out(kNumbers);
    if (error == cudaSuccess) {
      error = cudaMemcpyAsync(out.data(), device_out, kNumbers * sizeof(float), cudaMemcpyDeviceToHost, stream);
    }
    if (error == cudaSuccess) error = cudaStreamSynchronize(stream);
    if (error != cudaSuccess) {
      check.failure = cudaGetErrorString(error);
      continue;
    }
    for (size_t i = 0; i < c.expected.size() && check.failure.empty(); ++i) {
      if (out[i] == c.expected[i]) continue;
      check.failure = "result " + std::to_string(i) + " is " + std::to_string(out[i]) + " instead of " +
                      std::to_string(c.expected[i]);
    }
  }
  cudaFree(device_in);
  cudaFree(device_out);
  return checks;
}

}  // namespace longtake::probe
