#include "engine/cuda/kernels/dispatch.h"
#include "engine/cuda/kernels/elements.h"
#include "engine/cuda/kernels/grid.h"

namespace longtake::cuda {
namespace {

constexpr int kThreads = 256;

// 16 bytes at a time where D is a multiple of 8, else an element.
template <bool kGranules>
__global__ void __launch_bounds__(kThreads) GatherFramesKernel(GatherFramesLaunch a) {
  constexpr int kElements = kGranules ? 8 : 1;
  const Share share = a.shares[blockIdx.x];
  if (share.segment < 0) return;
  const GridSegment s = a.segments[share.segment];
  const int frame_rows = s.height * s.width, all = s.frames * frame_rows;
  const int columns = static_cast<int>(a.y.columns);
  const int pieces = static_cast<int>(a.stride / kElements), rows = min(kGatherRows, all - share.first);
  for (int e = threadIdx.x; e < rows * pieces; e += kThreads) {
    const int row = share.first + e / pieces, at = e % pieces * kElements;
    const int tap = at / columns, from = row + (tap - 1) * frame_rows;
    const Bf16* in = nullptr;
    if (tap < 3 && from >= 0 && from < all) {
      in = static_cast<const Bf16*>(a.y.data) + (s.first_row + from) * a.y.stride;
    } else if (tap == 0 && s.in != nullptr) {
      in = static_cast<const Bf16*>(s.in) + int64_t{row} * columns;
    }
    Bf16* out = static_cast<Bf16*>(a.out) + (s.first_row + row) * a.stride + at;
    if constexpr (kGranules) {
      *reinterpret_cast<uint4*>(out) =
          in == nullptr ? make_uint4(0, 0, 0, 0) : *reinterpret_cast<const uint4*>(in + at % columns);
    } else {
      *out = in == nullptr ? ToBf16(0.f) : in[at % columns];
    }
  }
}

// The latent element of column `at` of a token, whose channel is slowest or fastest.
template <bool kChannelSlowest>
__device__ __forceinline__ int64_t LatentIndex(const PatchLaunch& a, const GridSegment& s, int token, int at) {
  const int volume = a.pt * a.ph * a.pw;
  const int channel = kChannelSlowest ? at / volume : at % a.channels;
  const int place = kChannelSlowest ? at % volume : at / a.channels;
  const int dt = place / (a.ph * a.pw), dy = place / a.pw % a.ph, dx = place % a.pw;
  const int t = token / (s.height * s.width), y = token / s.width % s.height, x = token % s.width;
  const int64_t frame = int64_t{channel} * s.frames * a.pt + t * a.pt + dt;
  return (frame * s.height * a.ph + y * a.ph + dy) * (int64_t{s.width} * a.pw) + x * a.pw + dx;
}

template <typename Out>
__global__ void __launch_bounds__(kThreads) PatchifyKernel(PatchLaunch a, Out* tokens, int64_t stride, int columns) {
  const Share share = a.shares[blockIdx.x];
  if (share.segment < 0) return;
  const GridSegment s = a.segments[share.segment];
  const int rows = min(kPatchRows, s.frames * s.height * s.width - share.first);
  for (int e = threadIdx.x; e < rows * columns; e += kThreads) {
    const int token = share.first + e / columns, at = e % columns;
    const float v[1] = {static_cast<const float*>(s.in)[LatentIndex<true>(a, s, token, at)]};
    Store<1>(tokens + (s.first_row + token) * stride + at, v);
  }
}

__global__ void __launch_bounds__(kThreads)
    UnpatchifyKernel(PatchLaunch a, const float* tokens, int64_t stride, int columns) {
  const Share share = a.shares[blockIdx.x];
  if (share.segment < 0) return;
  const GridSegment s = a.segments[share.segment];
  const int rows = min(kPatchRows, s.frames * s.height * s.width - share.first);
  for (int e = threadIdx.x; e < rows * columns; e += kThreads) {
    const int token = share.first + e / columns, at = e % columns;
    static_cast<float*>(s.out)[LatentIndex<false>(a, s, token, at)] = tokens[(s.first_row + token) * stride + at];
  }
}

LaunchShape BlockAShare(int64_t shares) {
  return {.grid = dim3(static_cast<unsigned>(shares)), .block = dim3(kThreads)};
}

}  // namespace

void RunGatherFrames(Launcher& launcher, const GatherFramesLaunch& a) {
  const bool granules = a.y.columns % 8 == 0 && a.y.stride % 8 == 0 && a.stride % 8 == 0;
  launcher.Launch("gather_frames", BlockAShare(a.share_count),
                  granules ? GatherFramesKernel<true> : GatherFramesKernel<false>, a);
}

void RunPatchify(Launcher& launcher, const PatchLaunch& a, Mat tokens) {
  ByType(tokens.dtype, [&](auto out) {
    using Out = decltype(out);
    launcher.Launch("patchify", BlockAShare(a.share_count), PatchifyKernel<Out>, a, static_cast<Out*>(tokens.data),
                    tokens.stride, static_cast<int>(tokens.cols));
  });
}

void RunUnpatchify(Launcher& launcher, const PatchLaunch& a, ConstMat tokens) {
  launcher.Launch("unpatchify", BlockAShare(a.share_count), UnpatchifyKernel, a, static_cast<const float*>(tokens.data),
                  tokens.stride, static_cast<int>(tokens.cols));
}

}  // namespace longtake::cuda
