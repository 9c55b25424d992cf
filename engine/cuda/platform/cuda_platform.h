// What device code and the code that launches it are written on, for a real device: CUDA's runtime and PTX. The tests'
// emulation has a header of the same name (tests/cuda/emulation/), and the build files choose between the two by the
// include path. engine/cuda/warp.h says what each function does.
#ifndef LONGTAKE_ENGINE_CUDA_PLATFORM_CUDA_PLATFORM_H_
#define LONGTAKE_ENGINE_CUDA_PLATFORM_CUDA_PLATFORM_H_

#include <cuda_runtime.h>

#include <cstdint>

namespace longtake::cuda {

// Kernel launches go through here, never through the launch syntax, which only nvcc understands.
template <typename... P, typename... A>
cudaError_t LaunchKernel(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
                         A&&... arguments) {
  // A block may have 48 KiB of shared memory unasked.
  if (shared_bytes > 48 * 1024) {
    const cudaError_t error =
        cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(shared_bytes));
    if (error != cudaSuccess) return error;
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, static_cast<P>(arguments)...);
}

// Loads a kernel's code, which the driver else does at the first launch. An error where there is none for the device.
template <typename... P>
cudaError_t LoadKernel(void (*kernel)(P...)) {
  cudaFuncAttributes attributes;
  return cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(kernel));
}

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_PLATFORM_CUDA_PLATFORM_H_
