// Which vector instructions this machine has, and which of them a caller lets us use.
#ifndef LONGTAKE_ENGINE_CPU_ISA_H_
#define LONGTAKE_ENGINE_CPU_ISA_H_

#include <string_view>

#include "absl/status/statusor.h"

namespace longtake::cpu {

// In rising order: each has all that the ones before have.
enum class Isa { kNone, kAvx2, kAvx512, kAvx512Bf16, kAmxBf16 };

std::string_view Name(Isa isa);

// The best that processor and operating system allow. Asks Linux for the AMX tile registers (arch_prctl) where the
// processor has them, since their 8 KiB of state are off until a process asks.
Isa DetectIsa();

// `cap` as in CpuOptions::isa, "auto" for `best`. InvalidArgument for an unknown word or more than `best`.
absl::StatusOr<Isa> ChooseIsa(std::string_view cap, Isa best);

}  // namespace longtake::cpu

#endif  // LONGTAKE_ENGINE_CPU_ISA_H_
