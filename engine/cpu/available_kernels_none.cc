// For architectures without kernels.
#include <sys/utsname.h>

#include "absl/strings/str_cat.h"
#include "engine/cpu/available_kernels.h"

namespace longtake::cpu {

Isa DetectIsa() { return Isa::kNone; }

std::string WhatIsMissing() {
  utsname machine = {};
  uname(&machine);
  return absl::StrCat(
      "backend: cpu has kernels for x86-64 only, and this program was built without them (this machine is ",
      machine.machine, ")");
}

KernelTable KernelsOf(Isa) { return {}; }

std::optional<KernelTable> EmulatedAmxKernels() { return std::nullopt; }

}  // namespace longtake::cpu
