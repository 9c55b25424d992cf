// Convolutions over channels-last frames as implicit matrix products: rows are output pixels, columns output channels,
// and the sum runs over taps and input channels. Nothing is gathered in memory: a frame's im2col would be 27 frames.
// reference/video.cc (Conv) defines them; ops.h (ConvArgs) says what upsample, stride and padding mean.
//
// A block has some pixels of one frame, cut from the frame's first, and sums over all taps in a fixed order: a frame's
// bytes do not depend on the frames beside it. Frames of zeros before the first are left out, which changes no sum.
// Which kernel runs follows from the shape alone. How many channels a block has follows from the shape and the device,
// and no sum depends on it.
//
// mma.sync, which reaches about 60 % of Hopper's wgmma. Not yet run on a device; there it is to be measured against
// cuDNN and CUTLASS first.
#ifndef LONGTAKE_ENGINE_CUDA_KERNELS_CONV_H_
#define LONGTAKE_ENGINE_CUDA_KERNELS_CONV_H_

#include <cstdint>
#include <type_traits>

#include "engine/cuda/launcher.h"

namespace longtake::cuda {

struct ConvLaunch {
  static constexpr int kMostFrames = 3;
  // bf16 [outputs][tap][inputs], rows `weight_stride` elements apart, a multiple of 16, zeros behind the taps.
  const void* weight = nullptr;
  int64_t weight_stride = 0;
  const float* bias = nullptr;  // [outputs]
  int inputs = 0, outputs = 0, kt = 1, kh = 1, kw = 1;
  int in_height = 0, in_width = 0, out_height = 0, out_width = 0;
  int stride = 1, upsample = 1, pad_top = 0, pad_left = 0;
  int reflect = 0;  // not 0: the border reflects the inputs, of which one pixel outside is needed; else it is zeros
  int wide = 0;     // not 0: out and residual are f32; else bf16
  int relu = 0;     // not 0: negative sums become 0
  // One output frame, and the kt frames that it is made from; null: zeros.
  const void* in[kMostFrames] = {};
  void* out = nullptr;
  const void* residual = nullptr;  // null: none

  // No array that is indexed when running: it would be copied to memory.
  __device__ __forceinline__ const void* Frame(int t) const { return t == 0 ? in[0] : t == 1 ? in[1] : in[2]; }
  // Frames of zeros before the first one, which add nothing.
  __device__ __forceinline__ int SkippedFrames() const {
    int n = 0;
    while (n < kt - 1 && Frame(n) == nullptr) ++n;
    return n;
  }
};
void RunConv(Launcher& launcher, const ConvLaunch& a);

// The place of `size` that stands for `at` behind a reflecting border. Further out than one, where no stored pixel
// reads, it is any place.
__device__ __forceinline__ int Reflected(int at, int size) {
  const int inner = at < 0 ? -at : at >= size ? 2 * size - 2 - at : at;
  return inner < 0 ? 0 : inner >= size ? size - 1 : inner;
}

// RunConv's fast way (conv_tile.cu), for shapes that fit it.
bool FitsConvTile(const ConvLaunch& a);
void RunConvTile(Launcher& launcher, const ConvLaunch& a);

// Output channels of a block of conv_tile.cu, 128, 96, 64 or 32: those that make the whole launch shortest.
int ConvTileChannels(const ConvLaunch& a, int multiprocessors);

// f(std::integral_constant<int, channels>()).
template <typename F>
void ByConvChannels(int channels, F&& f) {
  switch (channels) {
    case 128:
      return f(std::integral_constant<int, 128>());
    case 96:
      return f(std::integral_constant<int, 96>());
    case 64:
      return f(std::integral_constant<int, 64>());
    default:
      return f(std::integral_constant<int, 32>());
  }
}

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_KERNELS_CONV_H_
