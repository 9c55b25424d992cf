// Which row and column of a 16 x 16 piece of shared memory this lane hands to LoadMatrix4.
#ifndef LONGTAKE_ENGINE_CUDA_KERNELS_FRAGMENTS_H_
#define LONGTAKE_ENGINE_CUDA_KERNELS_FRAGMENTS_H_

#include "engine/cuda/warp.h"

namespace longtake::cuda {

struct LaneAddress {
  int row, column;
};

// The four matrices are rows 0-7, rows 8-15, and the same of columns 8-15: a left operand of MmaBf16 as it is, or
// (LoadMatrix4Transposed) two right ones, [0..1] of columns 0-7 and [2..3] of columns 8-15.
__device__ __forceinline__ LaneAddress ByRows() {
  const int lane = threadIdx.x % 32;
  return {lane % 16, lane / 16 * 8};
}

// The four matrices are columns 0-7, columns 8-15, and the same of rows 8-15: where rows are a right operand's columns,
// two of them, [0..1] of rows 0-7 and [2..3] of rows 8-15.
__device__ __forceinline__ LaneAddress ByColumns() {
  const int lane = threadIdx.x % 32;
  return {lane % 8 + lane / 16 * 8, lane / 8 % 2 * 8};
}

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_KERNELS_FRAGMENTS_H_
