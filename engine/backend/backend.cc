#include "engine/backend/backend.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/reference/reference_ops.h"

namespace longtake {

absl::StatusOr<std::unique_ptr<Ops>> MakeBackend(const BackendOptions& options) {
  if (options.backend == "reference") {
    if (options.dtype == "bfloat16") {
      return absl::InvalidArgumentError("dtype: the reference backend computes in float32 only");
    }
    return MakeReferenceOps();
  }
  return absl::InvalidArgumentError(absl::StrCat("backend: \"", options.backend, "\" is not \"reference\" or \"cpu\""));
}

}  // namespace longtake
