#include "engine/cuda/status.h"

#include "absl/strings/str_cat.h"

namespace longtake::cuda {
namespace {

absl::StatusCode CodeOf(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation:
      return absl::StatusCode::kResourceExhausted;
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorInitializationError:
    case cudaErrorDevicesUnavailable:
      return absl::StatusCode::kUnavailable;
    case cudaErrorNoKernelImageForDevice:
      return absl::StatusCode::kUnimplemented;
    case cudaErrorInvalidDevice:
      return absl::StatusCode::kInvalidArgument;
    default:
      return absl::StatusCode::kInternal;
  }
}

}  // namespace

absl::Status ToStatus(cudaError_t error, std::string_view what) {
  if (error == cudaSuccess) return absl::OkStatus();
  return absl::Status(CodeOf(error), absl::StrCat(absl::string_view(what.data(), what.size()), ": ",
                                                  cudaGetErrorName(error), ": ", cudaGetErrorString(error)));
}

}  // namespace longtake::cuda
