// What is made of queries, keys and values before attention reads them.
#include "engine/cuda/kernels/attention.h"
#include "engine/cuda/kernels/dispatch.h"
#include "engine/cuda/kernels/elements.h"

namespace longtake::cuda {
namespace {

constexpr int kThreads = 128;

__global__ void __launch_bounds__(kThreads)
    PackCrossKvKernel(Rows k, Rows v, const float* inverse, const float* weight, int d, Bf16* out) {
  const int padded = static_cast<int>(PaddedHead(d));
  const int64_t n = blockIdx.x, head = blockIdx.y, heads = gridDim.y;
  Bf16* keys = out + (head * k.rows + n) * padded;
  Bf16* values = keys + heads * k.rows * padded;
  for (int i = threadIdx.x; i < padded; i += kThreads) {
    const int64_t at = head * d + i;
    float key = 0.f, value = 0.f;
    if (i < d) {
      key = ToFloat(static_cast<const Bf16*>(k.data)[n * k.stride + at]);
      if (weight != nullptr) key *= inverse[n] * weight[at];
      value = ToFloat(static_cast<const Bf16*>(v.data)[n * v.stride + at]);
    }
    keys[i] = ToBf16(key);
    values[i] = ToBf16(value);
  }
}

template <typename In>
__global__ void __launch_bounds__(kThreads) RotateKernel(RotateLaunch a) {
  const int d = a.head_dim, padded = static_cast<int>(PaddedHead(d)), head = blockIdx.y;
  const Share share = a.shares[blockIdx.x];
  const GridSegment segment = a.segments[share.segment];
  const int rows = min(kRotatedRows, segment.frames - share.first);
  const bool rotate = a.angles != nullptr && head < a.rotated_heads;
  for (int e = threadIdx.x; e < rows * padded; e += kThreads) {
    const int position = share.first + e / padded, i = e % padded;
    const int64_t n = segment.first_row + position;
    const In* x = static_cast<const In*>(a.qkv.data) + n * a.qkv.stride + int64_t{head} * d;
    float value = 0.f;
    if (i < d) {
      value = ToFloat(x[i]);
      if (rotate) {
        const int half = d / 2, pair = i % half;
        const float2 angle = a.angles[position * half + pair];
        value =
            i < half ? value * angle.x - ToFloat(x[i + half]) * angle.y : value * angle.x + ToFloat(x[pair]) * angle.y;
      }
    }
    static_cast<Bf16*>(a.out)[(int64_t{head} * a.qkv.rows + n) * padded + i] = ToBf16(value);
  }
}

}  // namespace

void RunPackCrossKv(Launcher& launcher, ConstMat k, ConstMat v, const float* inverse, const float* weight, int heads,
                    int head_dim, void* out) {
  launcher.Launch("pack_cross_kv",
                  {.grid = dim3(static_cast<unsigned>(k.rows), static_cast<unsigned>(heads)), .block = dim3(kThreads)},
                  PackCrossKvKernel, RowsOf(k), RowsOf(v), inverse, weight, head_dim, static_cast<Bf16*>(out));
}

void RunRotateHeads(Launcher& launcher, DType qkv, const RotateLaunch& a) {
  ByType(qkv, [&](auto in) {
    launcher.Launch("rotate_heads",
                    {.grid = dim3(static_cast<unsigned>(a.share_count), static_cast<unsigned>(a.all_heads)),
                     .block = dim3(kThreads)},
                    RotateKernel<decltype(in)>, a);
  });
}

}  // namespace longtake::cuda
