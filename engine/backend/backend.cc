#include "engine/backend/backend.h"

#include <algorithm>
#include <thread>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/cpu/cpu_ops.h"
#include "engine/reference/reference_ops.h"

namespace longtake {

absl::StatusOr<std::unique_ptr<Ops>> MakeBackend(const BackendOptions& options) {
  if (options.backend == "reference") {
    if (options.dtype == "bfloat16") {
      return absl::InvalidArgumentError("dtype: the reference backend computes in float32 only");
    }
    return MakeReferenceOps();
  }
  if (options.backend == "cpu") {
    const int threads = options.threads > 0 ? options.threads : std::max(1u, std::thread::hardware_concurrency());
    return MakeCpuOps({.threads = threads, .isa = options.isa, .dtype = options.dtype});
  }
  return absl::InvalidArgumentError(absl::StrCat("backend: \"", options.backend, "\" is not \"reference\" or \"cpu\""));
}

}  // namespace longtake
