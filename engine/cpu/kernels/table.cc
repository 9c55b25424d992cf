#include "engine/cpu/kernels/fill.h"

namespace longtake::cpu::LONGTAKE_ISA {

void FillTable(KernelTable* table) {
  FillGemm(table);
  FillRows(table);
  FillAttention(table);
  FillLinearAttention(table);
  FillDepthwise(table);
}

}  // namespace longtake::cpu::LONGTAKE_ISA
