// Latents and pixels, in and out of channels-last frames. reference/frames.cc defines them.
#ifndef LONGTAKE_ENGINE_CUDA_KERNELS_FRAMES_H_
#define LONGTAKE_ENGINE_CUDA_KERNELS_FRAMES_H_

#include <cstdint>

#include "engine/core/tensor.h"
#include "engine/cuda/launcher.h"

namespace longtake::cuda {

// `latents`: f32 [C, frames, pixels] at frame t, so `plane` = frames * pixels floats between channels. mean and std on
// the device.
void RunLatentsToFrame(Launcher& launcher, const float* latents, int64_t plane, const float* mean, const float* std,
                       Mat frame);
void RunFrameToLatents(Launcher& launcher, ConstMat frame, int channels, const float* mean, const float* std,
                       int64_t plane, float* latents);
// Frames [height * width, 3 * patch * patch]; planar f32 [3, height * patch, width * patch].
void RunFrameToPlanar(Launcher& launcher, ConstMat frame, int height, int width, int patch, float* planar);
void RunPlanarToFrame(Launcher& launcher, const float* planar, int height, int width, int patch, Mat frame);
// 8-bit 4:2:0, BT.709 limited range. height * patch and width * patch are even.
void RunFrameToI420(Launcher& launcher, ConstMat frame, int height, int width, int patch, uint8_t* y, uint8_t* u,
                    uint8_t* v);

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_KERNELS_FRAMES_H_
