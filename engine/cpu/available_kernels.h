// Finds the kernels that this program contains and this machine can run. The build selects one source by architecture:
// available_kernels_x86.cc with kernels/, or available_kernels_none.cc.
#ifndef LONGTAKE_ENGINE_CPU_AVAILABLE_KERNELS_H_
#define LONGTAKE_ENGINE_CPU_AVAILABLE_KERNELS_H_

#include <optional>
#include <string>

#include "engine/cpu/isa.h"
#include "engine/cpu/kernels/kernel_table.h"

namespace longtake::cpu {

// Returns the highest instruction set that program, processor and operating system support; kNone if there is none. If
// the processor has AMX, requests the tile registers from Linux (arch_prctl), because their 8 KiB of state are disabled
// until a process requests them.
Isa DetectIsa();
// An error message for when DetectIsa returns kNone.
std::string WhatIsMissing();

// Requires an instruction set that DetectIsa allows.
KernelTable KernelsOf(Isa isa);
// AMX kernels with tiles emulated in plain memory, for tests; nullopt if the processor lacks avx512_bf16.
std::optional<KernelTable> EmulatedAmxKernels();

}  // namespace longtake::cpu

#endif  // LONGTAKE_ENGINE_CPU_AVAILABLE_KERNELS_H_
