// Convolutions over channels-last frames as implicit matrix products: rows are output pixels, columns output channels,
// and the sum runs over taps and input channels. Nothing is gathered in memory: a frame's im2col would be 27 frames.
// reference/video.cc (Conv) defines them; ops.h (ConvArgs) says what upsample, stride and padding mean.
//
// A block has 128 pixels of one frame, counted from the frame's first, and sums over all taps in order: a frame's bytes
// do not depend on the frames beside it. Frames of zeros before the first are left out, which changes no sum.
//
// mma.sync of sm_80: about 60 % of what Hopper's wgmma reaches. Not yet run on a device, where it is to be measured
// against cuDNN and CUTLASS first.
#ifndef LONGTAKE_ENGINE_CUDA_KERNELS_CONV_H_
#define LONGTAKE_ENGINE_CUDA_KERNELS_CONV_H_

#include <cstdint>

#include "engine/cuda/launcher.h"

namespace longtake::cuda {

struct ConvLaunch {
  // bf16 [outputs][tap][inputs], rows `weight_stride` elements apart, a multiple of 16, zeros behind the taps.
  const void* weight = nullptr;
  int64_t weight_stride = 0;
  const float* bias = nullptr;  // [outputs]
  int inputs = 0, outputs = 0, kt = 1, kh = 1, kw = 1;
  int in_height = 0, in_width = 0, out_height = 0, out_width = 0;
  int stride = 1, upsample = 1, pad_top = 0, pad_left = 0;
  // Tables on the device: [frames * kt] inputs (null: zeros), [frames] outputs, [frames] residuals or null.
  const void* const* in = nullptr;
  void* const* out = nullptr;
  const void* const* residual = nullptr;
  int frames = 0;
  bool wide = false;  // out and residual f32; else bf16
};
void RunConv(Launcher& launcher, const ConvLaunch& a);

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_KERNELS_CONV_H_
