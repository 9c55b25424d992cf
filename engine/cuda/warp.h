// What kernels are written with beside plain C++: types, warp collectives, tensor-core products, copies.
//
// A kernel is one source for two platforms. nvcc compiles it for devices with engine/cuda/platform/, g++ compiles it
// for the host with tests/cuda/emulation/, where each thread of a block is a fiber. So a kernel uses only:
//   __global__, __device__, __forceinline__, __launch_bounds__, __restrict__; threadIdx, blockIdx, blockDim, gridDim;
//   C++'s float functions, rsqrtf, __expf, __fdividef; float2, float4, uint2, uint4 and make_...; and what is named
//   here.
// Shared memory is dynamic only (SharedMemory), so that the emulation can fill it with NaN before each block. No thread
// returns before a barrier that others wait at, no lane leaves out a collective of its warp: the emulation ends the
// program where that happens.
//
//   Bf16                          16 bits; ToFloat, ToBf16 (nearest even)
//   PackBf16(low, high)           two bf16 in 32 bits; `low` is the element of the lower index. LowFloat, HighFloat
//   PackE4m3(low, high)           two e4m3 in 16 bits, to the nearest, at most 448
//   ToTf32(x)                     float32 rounded to TF32's 10 bits, in 32 bits
//   FastExp2(x)                   2^x to two units of the last place in one instruction; 0 below 2^-126
//   FastTanh(x)                   tanh(x) to 2^-11 of its value in one instruction
//   SharedMemory<T>()             the block's dynamic shared memory, aligned to 128 bytes
//   SyncBlock(), SyncWarp()       barriers; they order shared memory
//   ShuffleXor, Shuffle, Ballot   of all 32 lanes
//   WarpSum(v), WarpMax(v)        of all 32 lanes, to every lane, in an order that depends on nothing
//   BlockSum(v, shared)           of all threads (a multiple of 32), to every thread; `shared` is 32 floats. Barriers
//                                 before and after are its own.
//
// Tensor cores, d += a b, float32 sums. g = lane / 4, i = lane % 4, row by column:
//   MmaBf16(d, a, b)   16x8x16. a[0] = A(g, 2i..2i+1), a[1] = A(g+8, 2i..), a[2] = A(g, 2i+8..), a[3] = A(g+8, 2i+8..);
//                      b[0] = B(2i..2i+1, g), b[1] = B(2i+8.., g): pairs along k, packed as PackBf16 does.
//   MmaTf32(d, a, b)   16x8x8. a[0] = A(g, i), a[1] = A(g+8, i), a[2] = A(g, i+4), a[3] = A(g+8, i+4);
//                      b[0] = B(i, g), b[1] = B(i+4, g).
//   d in both:         d[0..1] = D(g, 2i..2i+1), d[2..3] = D(g+8, 2i..2i+1).
//   LoadMatrix4(r, p)  four 8x8 matrices of bf16 from shared memory. Lane l's `p` is row l%8 of matrix l/8 (16 bytes,
//                      aligned); r[m] is the pair (g, 2i..2i+1) of matrix m. ...Transposed: the pair (2i..2i+1, g).
//
// Copies of 16 bytes from global to shared memory that run on while the thread goes on:
//   CopyAsync16(shared, global, valid)   zeros where not valid (`global` must still be an address)
//   CommitCopies()                       those since the last call are a group
//   WaitCopies<n>()                      all but the n latest groups of this thread have landed; other threads' need
//                                        SyncBlock as well
#ifndef LONGTAKE_ENGINE_CUDA_WARP_H_
#define LONGTAKE_ENGINE_CUDA_WARP_H_

#include "cuda_platform.h"
#include "warp_platform.h"

namespace longtake::cuda {

__device__ __forceinline__ float WarpSum(float v) {
  for (int lanes = 16; lanes > 0; lanes /= 2) v += ShuffleXor(v, lanes);
  return v;
}

__device__ __forceinline__ float WarpMax(float v) {
  for (int lanes = 16; lanes > 0; lanes /= 2) v = fmaxf(v, ShuffleXor(v, lanes));
  return v;
}

__device__ __forceinline__ float BlockSum(float v, float* shared) {
  v = WarpSum(v);
  SyncBlock();  // what an earlier call left in `shared` has been read
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = v;
  SyncBlock();
  float sum = 0.f;
  for (unsigned warp = 0; warp < blockDim.x / 32; ++warp) sum += shared[warp];
  return sum;
}

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_WARP_H_
