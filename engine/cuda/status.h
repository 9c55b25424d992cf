// CUDA's errors as statuses: converted here, at the edge.
#ifndef LONGTAKE_ENGINE_CUDA_STATUS_H_
#define LONGTAKE_ENGINE_CUDA_STATUS_H_

#include <string_view>

#include "absl/status/status.h"
#include "cuda_platform.h"

namespace longtake::cuda {

// ResourceExhausted for memory, Unavailable where there is no device or no driver for it, Unimplemented where the
// binary has no code for this device, else Internal. The message is "WHAT: CUDA's name of the error: its text".
absl::Status ToStatus(cudaError_t error, std::string_view what);

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_STATUS_H_
