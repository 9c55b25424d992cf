// Re-orderings between channels and positions. ops/shuffle.h defines them.
//
// A launch moves one of the frames that a position becomes. A thread has one element of what is written, and its terms
// in a fixed order.
#ifndef LONGTAKE_ENGINE_CUDA_KERNELS_SHUFFLE_H_
#define LONGTAKE_ENGINE_CUDA_KERNELS_SHUFFLE_H_

#include "engine/core/matrix.h"
#include "engine/cuda/launcher.h"

namespace longtake::cuda {

// All f32. `width` is the coarse frame's; h, w: rows and columns that one position becomes; `volume` times as many
// channels has the coarse frame, of which the fine frame's position (j, k) has those of number `first` + j * w + k.
struct ShuffleLaunch {
  int width = 0, h = 1, w = 1, volume = 1, first = 0;
};

// `out`: the fine frame. `residual`: coarse, or null data.
void RunDepthToSpace(Launcher& launcher, const ShuffleLaunch& shape, ConstMat in, ConstMat residual, Mat out);
// `in`, `residual`: fine frames. With `begin` out is written, else added to.
void RunSpaceToDepth(Launcher& launcher, const ShuffleLaunch& shape, ConstMat in, ConstMat residual, bool begin,
                     Mat out);

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_KERNELS_SHUFFLE_H_
