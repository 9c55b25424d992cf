// The one entry of the library that holds the cuda backend; standard types only.
#ifndef LONGTAKE_ENGINE_CUDA_CUDA_INTERFACE_H_
#define LONGTAKE_ENGINE_CUDA_CUDA_INTERFACE_H_

#include <string>

#include "engine/cuda/cuda_ops.h"

namespace longtake {

// Null where that fails: `code` is then absl's number of the status, `message` its text. The caller deletes the result.
inline constexpr char kMakeCudaOps[] = "longtake_make_cuda_ops";
using MakeCudaOpsFunction = Ops* (*)(const CudaOptions& options, int* code, std::string* message);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CUDA_CUDA_INTERFACE_H_
