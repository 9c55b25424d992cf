// Each kernel source fills in its part of the table.
#ifndef LONGTAKE_ENGINE_CPU_KERNELS_FILL_H_
#define LONGTAKE_ENGINE_CPU_KERNELS_FILL_H_

#include "engine/cpu/kernels/kernel_table.h"

namespace longtake::cpu::LONGTAKE_ISA {

void FillGemm(KernelTable* table);
void FillRows(KernelTable* table);
void FillAttention(KernelTable* table);
void FillLinearAttention(KernelTable* table);
void FillDepthwise(KernelTable* table);

}  // namespace longtake::cpu::LONGTAKE_ISA

#endif  // LONGTAKE_ENGINE_CPU_KERNELS_FILL_H_
