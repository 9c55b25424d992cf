// The cuda backend, from a library that is loaded only when somebody asks for it.
#ifndef LONGTAKE_ENGINE_BACKEND_CUDA_LIBRARY_H_
#define LONGTAKE_ENGINE_BACKEND_CUDA_LIBRARY_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/ops/ops.h"

namespace longtake {

// Unavailable where longtake-cuda.so is not beside the program, or there is no device; InvalidArgument names the option
// that the device cannot do. Options as in engine/cuda/cuda_ops.h.
absl::StatusOr<std::unique_ptr<Ops>> LoadCudaOps(int device, const std::string& dtype, bool graphs);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_BACKEND_CUDA_LIBRARY_H_
