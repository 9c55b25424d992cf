// Latents and pixels: arguments to launches.
#include "engine/cuda/cuda_ops_impl.h"
#include "engine/cuda/kernels/frames.h"

namespace longtake::cuda {

void CudaOps::LatentsToFrame(const float* latents, int64_t frames, int64_t t, std::span<const float> mean,
                             std::span<const float> std, Mat frame) {
  RunLatentsToFrame(context_->launcher(), latents + t * frame.rows, frames * frame.rows, context_->staging().Put(mean),
                    context_->staging().Put(std), frame);
}

void CudaOps::FrameToLatents(ConstMat frame, std::span<const float> mean, std::span<const float> std, int64_t frames,
                             int64_t t, float* latents) {
  RunFrameToLatents(context_->launcher(), frame, static_cast<int>(mean.size()), context_->staging().Put(mean),
                    context_->staging().Put(std), frames * frame.rows, latents + t * frame.rows);
}

void CudaOps::FrameToPlanar(ConstMat frame, int height, int width, int patch, float* planar) {
  RunFrameToPlanar(context_->launcher(), frame, height, width, patch, planar);
}

void CudaOps::PlanarToFrame(const float* planar, int height, int width, int patch, Mat frame) {
  RunPlanarToFrame(context_->launcher(), planar, height, width, patch, frame);
}

void CudaOps::FrameToI420(ConstMat frame, int height, int width, int patch, uint8_t* y, uint8_t* u, uint8_t* v) {
  RunFrameToI420(context_->launcher(), frame, height, width, patch, y, u, v);
}

}  // namespace longtake::cuda
