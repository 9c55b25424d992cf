// What formats.h needs of CUDA's language, where a host's program uses it without CUDA. Stands in for
// platform/cuda_platform.h.
#ifndef LONGTAKE_ENGINE_CUDA_HOST_LANGUAGE_CUDA_PLATFORM_H_
#define LONGTAKE_ENGINE_CUDA_HOST_LANGUAGE_CUDA_PLATFORM_H_

#define __host__
#define __device__

#endif  // LONGTAKE_ENGINE_CUDA_HOST_LANGUAGE_CUDA_PLATFORM_H_
