#include "engine/cpu/kernels/fill.h"

namespace longtake::cpu::avx512_vnni {

// Matrix products are compiled anew, with bytes among them; everything else is that of avx512.
void FillTable(KernelTable* table) {
  avx512::FillTable(table);
  FillGemm(table);
}

}  // namespace longtake::cpu::avx512_vnni
