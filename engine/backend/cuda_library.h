// Loads the cuda backend from a shared library on request.
#ifndef LONGTAKE_ENGINE_BACKEND_CUDA_LIBRARY_H_
#define LONGTAKE_ENGINE_BACKEND_CUDA_LIBRARY_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/ops/ops.h"

namespace longtake {

// Unavailable: longtake-cuda.so is not found, or there is no device. InvalidArgument names the option that the device
// does not support. Options as in engine/cuda/cuda_ops.h.
absl::StatusOr<std::unique_ptr<Ops>> LoadCudaOps(int device, const std::string& dtype, bool graphs);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_BACKEND_CUDA_LIBRARY_H_
