#include "engine/cpu/kernels/gemm.h"

#include "engine/cpu/kernels/fill.h"

namespace longtake::cpu::LONGTAKE_ISA {

void FillGemm(KernelTable* table) {
  table->lanes = kLanes;
  for (int i = 0; i <= kMaxPanelVectors; ++i) table->tile_rows[i] = kTileRows[i];
  table->bf16_k_multiple = 2;
  table->gemm_f32 = Gemm<F32Product>;
#if defined(__AVX512BF16__)
  table->gemm_bf16 = Gemm<BF16Product>;
#else
  table->gemm_bf16 = nullptr;
#endif
}

}  // namespace longtake::cpu::LONGTAKE_ISA
