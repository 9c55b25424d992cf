#include "engine/cpu/kernels/gemm.h"

#include "engine/cpu/kernels/fill.h"

namespace longtake::cpu::LONGTAKE_ISA {
#if defined(__AVX512VNNI__)
namespace {

template <typename T>
void QuantizeRow(const T* x, int64_t columns, float* scale, uint8_t* out, int64_t stride) {
  V largest = Zero(), not_finite = Zero();
  ForVectors(columns, [&](int64_t i, int n) {
    const V v = LoadUpTo(x + i, n);
    largest = Max(Abs(v), largest);
    not_finite = Fma(v, Zero(), not_finite);  // 0, or NaN from the first NaN or infinity on
  });
  const float most = Largest(largest);
  const V inverse = Set(most > 0.f ? 127.f / most : 0.f);
  *scale = most / 127.f + Sum(not_finite);
  for (int64_t i = 0; i < stride; i += kLanes) {
    const int64_t left = columns - i;
    const V v = left >= kLanes ? Load(x + i) : left > 0 ? LoadN(x + i, left) : Zero();
    const __m512i rounded = _mm512_cvtps_epi32(v * inverse);  // to the nearest even
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i),
                     _mm512_cvtepi32_epi8(_mm512_add_epi32(rounded, _mm512_set1_epi32(128))));
  }
}

void QuantizeRows(ConstMat x, float* scales, uint8_t* out, int64_t stride) {
  for (int64_t r = 0; r < x.rows; ++r) {
    if (x.dtype == DType::kF32) {
      QuantizeRow(static_cast<const float*>(x.data) + r * x.stride, x.cols, scales + r, out + r * stride, stride);
    } else {
      QuantizeRow(static_cast<const bf16*>(x.data) + r * x.stride, x.cols, scales + r, out + r * stride, stride);
    }
  }
}

}  // namespace
#endif

void FillGemm(KernelTable* table) {
  table->lanes = kLanes;
  for (int i = 0; i <= kMaxPanelVectors; ++i) table->tile_rows[i] = kTileRows[i];
  table->bf16_k_multiple = 2;
  table->int8_k_multiple = 4;
  table->gemm_f32 = Gemm<F32Product>;
#if defined(__AVX512BF16__)
  table->gemm_bf16 = Gemm<BF16Product>;
#else
  table->gemm_bf16 = nullptr;
#endif
#if defined(__AVX512VNNI__)
  table->gemm_int8 = Gemm<Int8Product>;
  table->quantize_rows = QuantizeRows;
#else
  table->gemm_int8 = nullptr;
  table->quantize_rows = nullptr;
#endif
}

}  // namespace longtake::cpu::LONGTAKE_ISA
