// Tables of rotary positions, as kernels' arguments hold them.
#ifndef LONGTAKE_ENGINE_CUDA_KERNELS_ROTARY_AXES_H_
#define LONGTAKE_ENGINE_CUDA_KERNELS_ROTARY_AXES_H_

#include "cuda_platform.h"

namespace longtake::cuda {

// Cosine and sine for each position of an axis and each pair of its columns, [positions][width / 2].
struct RotaryAxes {
  const float2* time = nullptr;
  const float2* space = nullptr;
  int time_pairs = 0, space_pairs = 0;
};

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_KERNELS_ROTARY_AXES_H_
