// The backend of NVIDIA devices: the operations of ops/ops.h in CUDA, activations and weights in bfloat16, sums in
// float32. Loaded from a library of its own (cuda_library.h), so that nothing else needs CUDA.
#ifndef LONGTAKE_ENGINE_CUDA_CUDA_OPS_H_
#define LONGTAKE_ENGINE_CUDA_CUDA_OPS_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/ops/ops.h"

namespace longtake {

struct CudaOptions {
  int device = 0;              // as the driver counts
  std::string dtype = "auto";  // "auto" and "bfloat16"; "float8" (Hopper), "nvfp4" (Blackwell): for the weights that
                               // KernelShape marks, the others stay in bfloat16
  bool graphs = false;         // passes that come again are launched as CUDA graphs
};

// One thread at a time may call the result. Calls return at once; the work runs later, in order. InvalidArgument names
// the option: a type that this device lacks. Unavailable or NotFound: there is no device. The device's name() is
// "cuda/sm_90/cublaslt-130100-0f3a55c1/float8" or alike, with a sum of the algorithms that products planned so far
// have: equal names give equal bytes, in any batch.
absl::StatusOr<std::unique_ptr<Ops>> MakeCudaOps(const CudaOptions& options);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CUDA_CUDA_OPS_H_
