// Which kernels this program has and this machine can run. The build takes the file for its architecture:
// available_kernels_x86.cc with kernels/, or available_kernels_none.cc.
#ifndef LONGTAKE_ENGINE_CPU_AVAILABLE_KERNELS_H_
#define LONGTAKE_ENGINE_CPU_AVAILABLE_KERNELS_H_

#include <optional>
#include <string>

#include "engine/cpu/isa.h"
#include "engine/cpu/kernels/kernel_table.h"

namespace longtake::cpu {

// The best that program, processor and operating system allow; kNone: nothing at all. Asks Linux for the AMX tile
// registers (arch_prctl) where the processor has them, since their 8 KiB of state are off until a process asks.
Isa DetectIsa();
// Where DetectIsa gives kNone: an error that says why.
std::string WhatIsMissing();

// Of one that DetectIsa allows.
KernelTable KernelsOf(Isa isa);
// AMX's kernels on tiles in plain memory, for tests; none where the processor lacks avx512_bf16.
std::optional<KernelTable> EmulatedAmxKernels();

}  // namespace longtake::cpu

#endif  // LONGTAKE_ENGINE_CPU_AVAILABLE_KERNELS_H_
