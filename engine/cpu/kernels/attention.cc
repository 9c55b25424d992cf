// Softmax attention over packed keys and values. It processes one block of keys at a time with a running maximum and
// sum ("online softmax": Milakov and Gimelshein 2018; Dao et al. 2022), so that no N x N matrix is stored.
//
// Blocks of keys start at multiples of kAttentionKeys from the segment's first key, for every block of queries. Whether
// a block of keys is skipped depends on all queries of a block, but not a query's bytes: a block that is fully masked
// for a query leaves its sums unchanged (they are multiplied by 1, or later by 0).
#include "engine/cpu/kernels/fill.h"
#include "engine/cpu/kernels/tile.h"
#include "engine/cpu/kernels/vector_math.h"

namespace longtake::cpu::LONGTAKE_ISA {
namespace {

constexpr float kMasked = -1e30f;
constexpr int kPanel = kPanelVectors * kLanes;

// c[rows][columns] (+)= a . panels, summed over k. `columns` is padded to full vectors. Panel p starts at b + p *
// panel_elements.
template <typename P>
void Product(const void* const* a, int rows, int64_t k, const typename P::T* b, int64_t panel_elements,
             int64_t panel_k_offset, int64_t columns, float* c, int64_t c_stride, bool load) {
  for (int64_t n = 0; n < columns; n += kPanel) {
    const int64_t left = columns - n < kPanel ? columns - n : kPanel;
    const int vectors = static_cast<int>((left + kLanes - 1) / kLanes);
    const typename P::T* panel = b + n / kPanel * panel_elements + panel_k_offset * vectors * kLanes;
    const int tile_rows = kTileRows[vectors];
    for (int r = 0; r < rows; r += tile_rows) {
      const int count = rows - r < tile_rows ? rows - r : tile_rows;
      FindTile<P>(count, vectors)(a + r, 0, 1, k, panel, 0, c + r * c_stride + n, c_stride, load);
    }
  }
}

int64_t RoundUp(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// Converts the scores of `n` keys from key0 on to probabilities and returns their sum. *top is the running maximum;
// *fade is set to the factor for earlier sums.
template <typename T>
float Probabilities(const AttentionBlock& g, int64_t query, int64_t key0, int64_t n, float* s, T* p, float* top,
                    float* fade) {
  const V scale = Set(g.scale), cap = Set(g.soft_cap), inverse_cap = Set(g.soft_cap > 0 ? 1.f / g.soft_cap : 0.f);
  const int64_t padded = RoundUp(n, kLanes);
  // Keys [first, last) of this block are not masked.
  int64_t last = n, first = 0;
  if (g.causal && query - key0 + 1 < last) last = query - key0 + 1;
  if (g.window > 0 && query - g.window + 1 - key0 > 0) first = query - g.window + 1 - key0;
  const V first_v = Set(static_cast<float>(first)), last_v = Set(static_cast<float>(last)), masked = Set(kMasked);
  V most = Set(*top);
  for (int64_t i = 0; i < padded; i += kLanes) {
    V x = Load(s + i) * scale;
    if (g.soft_cap > 0) x = cap * Tanh(x * inverse_cap);
    if (i < first || i + kLanes > last) {
      const V at = Iota() + Set(static_cast<float>(i));
      x = Select(at, first_v, masked, Select(at, last_v, x, masked));
    }
    Store(s + i, x);
    most = Max(most, x);
  }
  const float new_top = Largest(most);
  alignas(64) float fade_v[kLanes];
  Store(fade_v, Exp(Set(*top - new_top)));
  *fade = fade_v[0];
  *top = new_top;
  const V top_v = Set(new_top);
  V sum = Zero();
  for (int64_t i = 0; i < padded; i += kLanes) {
    const V e = Exp(Load(s + i) - top_v);
    sum = sum + e;
    Store(p + i, e);
  }
  return Sum(sum);
}

template <typename P>
void Attention(const AttentionBlock& g) {
  using T = typename P::T;
  const int64_t d = g.q.cols, d_padded = RoundUp(d, kLanes), d_stride = RoundUp(d, 64);
  float* scores = g.scratch;
  float* sums = scores + kAttentionRows * kAttentionKeys;
  T* probabilities = reinterpret_cast<T*>(sums + kAttentionRows * d_stride);
  float top[kAttentionRows], total[kAttentionRows], fade[kAttentionRows];
  const void* q_rows[kAttentionRows];
  const void* p_rows[kAttentionRows];
  const int rows = static_cast<int>(g.q.rows);
  for (int r = 0; r < rows; ++r) {
    top[r] = kMasked;
    total[r] = 0;
    q_rows[r] = static_cast<const T*>(g.q.data) + r * g.q.stride;
    p_rows[r] = probabilities + r * kAttentionKeys;
    for (int64_t i = 0; i < d_padded; i += kLanes) Store(sums + r * d_stride + i, Zero());
  }
  const int64_t k_steps = RoundUp(d, P::kStep), v_steps = RoundUp(g.keys, P::kStep);
  const T* k_panels = static_cast<const T*>(g.k_panels);
  const T* v_panels = static_cast<const T*>(g.v_panels);
  int64_t begin = 0, end = g.keys;
  if (g.causal && g.first_query + rows < end) end = g.first_query + rows;
  if (g.window > 0 && g.first_query - g.window + 1 > 0) {
    begin = (g.first_query - g.window + 1) / kAttentionKeys * kAttentionKeys;
  }
  for (int64_t key = begin; key < end; key += kAttentionKeys) {
    // Includes masked keys, so that the division into blocks does not depend on the queries.
    const int64_t n = g.keys - key < kAttentionKeys ? g.keys - key : kAttentionKeys;
    Product<P>(q_rows, rows, d, k_panels + key / kPanel * kPanel * k_steps, kPanel * k_steps, 0, n, scores,
               kAttentionKeys, false);
    for (int r = 0; r < rows; ++r) {
      const float sum = Probabilities(g, g.first_query + r, key, n, scores + r * kAttentionKeys,
                                      probabilities + r * kAttentionKeys, &top[r], &fade[r]);
      total[r] = __builtin_fmaf(total[r], fade[r], sum);
      const V f = Set(fade[r]);
      for (int64_t i = 0; i < d_padded; i += kLanes) {
        float* at = sums + r * d_stride + i;
        Store(at, Load(at) * f);
      }
    }
    Product<P>(p_rows, rows, n, v_panels, kPanel * v_steps, key, d, sums, d_stride, true);
  }
  for (int r = 0; r < rows; ++r) {
    // The result of a row without any unmasked key (padding) is zero.
    const V inverse = Set(top[r] > kMasked / 2 ? 1.f / total[r] : 0.f);
    ForVectors(d, [&](int64_t i, int n) {
      const V x = Load(sums + r * d_stride + i) * inverse;
      WithType(g.out.dtype,
               [&](auto* out) { StoreUpTo(static_cast<decltype(out)>(g.out.data) + r * g.out.stride + i, x, n); });
    });
  }
}

}  // namespace

void FillAttention(KernelTable* table) {
  table->attention_f32 = Attention<F32Product>;
#if defined(__AVX512BF16__)
  table->attention_bf16 = Attention<BF16Product>;
#else
  table->attention_bf16 = nullptr;
#endif
}

}  // namespace longtake::cpu::LONGTAKE_ISA
