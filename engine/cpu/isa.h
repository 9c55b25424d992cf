// Instruction sets by name, and which of them a caller lets us use.
#ifndef LONGTAKE_ENGINE_CPU_ISA_H_
#define LONGTAKE_ENGINE_CPU_ISA_H_

#include <string_view>

#include "absl/status/statusor.h"

namespace longtake::cpu {

// In rising order: each has all that the ones before have.
enum class Isa { kNone, kAvx2, kAvx512, kAvx512Bf16, kAmxBf16 };

std::string_view Name(Isa isa);

// `cap` as in CpuOptions::isa, "auto" for `best`. InvalidArgument for an unknown word or more than `best`;
// FailedPrecondition where `best` is kNone.
absl::StatusOr<Isa> ChooseIsa(std::string_view cap, Isa best);

}  // namespace longtake::cpu

#endif  // LONGTAKE_ENGINE_CPU_ISA_H_
