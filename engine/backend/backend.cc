#include "engine/backend/backend.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/backend/cuda_library.h"
#include "engine/core/machine.h"
#include "engine/cpu/cpu_ops.h"
#include "engine/reference/reference_ops.h"

namespace longtake {

// More than any machine has, so that a mistyped number is refused before threads are created.
constexpr int kMaxThreads = 1024;

absl::StatusOr<std::unique_ptr<Ops>> MakeBackend(const BackendOptions& options) {
  if (options.backend == "reference") {
    if (options.dtype != "auto" && options.dtype != "float32") {
      return absl::InvalidArgumentError(
          absl::StrCat("dtype: \"", options.dtype, "\": the reference backend computes in float32 only"));
    }
    return MakeReferenceOps();
  }
  if (options.backend == "cpu") {
    if (options.threads > kMaxThreads) {
      return absl::InvalidArgumentError(absl::StrCat("threads: ", options.threads, " is above ", kMaxThreads));
    }
    ThreadChoice choice{.threads = options.threads, .reason = "as asked"};
    if (options.threads == 0) choice = ChooseThreads(Machine::Detect());
    choice.threads = std::min(choice.threads, kMaxThreads);
    if (options.log) options.log(absl::StrCat("threads: ", choice.threads, " (", choice.reason, ")"));
    return MakeCpuOps({.threads = choice.threads, .isa = options.isa, .dtype = options.dtype});
  }
  if (options.backend == "cuda") return LoadCudaOps(options.device, options.dtype, options.cuda_graphs);
  return absl::InvalidArgumentError(
      absl::StrCat("backend: \"", options.backend, "\" is not \"reference\", \"cpu\" or \"cuda\""));
}

}  // namespace longtake
