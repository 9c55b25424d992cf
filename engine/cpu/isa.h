// Names of instruction sets, and the choice of one.
#ifndef LONGTAKE_ENGINE_CPU_ISA_H_
#define LONGTAKE_ENGINE_CPU_ISA_H_

#include <string_view>

#include "absl/status/statusor.h"

namespace longtake::cpu {

// Ascending: each includes all instructions of those before it.
enum class Isa { kNone, kAvx2, kAvx512, kAvx512Vnni, kAvx512Bf16, kAmxBf16 };

std::string_view Name(Isa isa);

// Returns the instruction set that `cap` names (CpuOptions::isa), or `best` for "auto". InvalidArgument: an unknown
// word, or a set above `best`. FailedPrecondition: `best` is kNone.
absl::StatusOr<Isa> ChooseIsa(std::string_view cap, Isa best);

}  // namespace longtake::cpu

#endif  // LONGTAKE_ENGINE_CPU_ISA_H_
