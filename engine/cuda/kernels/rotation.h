// Rotary positions of tokens on a grid of frames, rows and columns, for kernels.
#ifndef LONGTAKE_ENGINE_CUDA_KERNELS_ROTATION_H_
#define LONGTAKE_ENGINE_CUDA_KERNELS_ROTATION_H_

#include <cstdint>

#include "engine/cuda/kernels/rotary_axes.h"
#include "engine/cuda/kernels/segments.h"
#include "engine/cuda/warp.h"

namespace longtake::cuda {

// Where a token stands, and its 1/rms.
struct Place {
  float inverse;
  int frame, row, column;
};

__device__ __forceinline__ Place PlaceOf(const GridSegment& s, int token, const float* inverse) {
  const int line = token / s.width;
  return {inverse == nullptr ? 1.f : inverse[s.first_row + token], s.first_frame + line / s.height, line % s.height,
          token % s.width};
}

// Cosines and sines of one pair of columns, at any position.
struct PairRotation {
  const float2* table;
  int stride;
  int axis;

  __device__ __forceinline__ PairRotation(const RotaryAxes& r, int pair) {
    axis = pair < r.time_pairs ? 0 : pair < r.time_pairs + r.space_pairs ? 1 : 2;
    stride = axis == 0 ? r.time_pairs : r.space_pairs;
    table = axis == 0 ? r.time + pair : r.space + pair - r.time_pairs - (axis - 1) * r.space_pairs;
  }
  __device__ __forceinline__ float2 At(const Place& p) const {
    const int position = axis == 0 ? p.frame : axis == 1 ? p.row : p.column;
    return table[position * stride];
  }
};

__device__ __forceinline__ void Rotate(const float (&x)[2], float2 rotation, float (&rotated)[2]) {
  rotated[0] = x[0] * rotation.x - x[1] * rotation.y;
  rotated[1] = x[0] * rotation.y + x[1] * rotation.x;
}

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_KERNELS_ROTATION_H_
