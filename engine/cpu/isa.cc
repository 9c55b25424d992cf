#include "engine/cpu/isa.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "engine/cpu/available_kernels.h"

namespace longtake::cpu {
namespace {

constexpr Isa kAll[] = {Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Vnni, Isa::kAvx512Bf16, Isa::kAmxBf16};

}  // namespace

std::string_view Name(Isa isa) {
  switch (isa) {
    case Isa::kNone:
      return "none";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAvx512Vnni:
      return "avx512_vnni";
    case Isa::kAvx512Bf16:
      return "avx512_bf16";
    case Isa::kAmxBf16:
      return "amx_bf16";
  }
  return "?";
}

absl::StatusOr<Isa> ChooseIsa(std::string_view cap, Isa best) {
  if (best == Isa::kNone) return absl::FailedPreconditionError(WhatIsMissing());
  if (cap == "auto") return best;
  for (Isa isa : kAll) {
    if (cap != Name(isa)) continue;
    if (isa > best) {
      return absl::InvalidArgumentError(
          absl::StrCat("isa: this machine has ", std::string(Name(best)), ", not ", std::string(cap)));
    }
    return isa;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "isa: \"", std::string(cap), "\" is none of auto, avx2, avx512, avx512_vnni, avx512_bf16, amx_bf16"));
}

}  // namespace longtake::cpu
