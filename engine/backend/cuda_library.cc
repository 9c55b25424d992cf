#include "engine/backend/cuda_library.h"

#include <dlfcn.h>

#include "absl/strings/str_cat.h"
#include "engine/cuda/cuda_interface.h"

namespace longtake {

absl::StatusOr<std::unique_ptr<Ops>> LoadCudaOps(int device, const std::string& dtype, bool graphs) {
  // Never closed: objects made by it may live as long as the process, and loading it again only increments its count.
  void* library = dlopen("longtake-cuda.so", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return absl::UnavailableError(absl::StrCat("backend: cuda: ", dlerror()));
  const auto make = reinterpret_cast<MakeCudaOpsFunction>(dlsym(library, kMakeCudaOps));
  if (make == nullptr) return absl::InternalError(absl::StrCat("backend: cuda: ", dlerror()));
  int code = 0;
  std::string message;
  std::unique_ptr<Ops> ops(make({.device = device, .dtype = dtype, .graphs = graphs}, &code, &message));
  if (ops == nullptr) return absl::Status(static_cast<absl::StatusCode>(code), message);
  return ops;
}

}  // namespace longtake
