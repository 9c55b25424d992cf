// Linear attention of one head over one segment, in float32: computes S and z over all tokens in order, then every
// token's output.
//
// S is stored transposed, ST[j][i] = sum of k~[j] v[i], so that an output is a product of a row with it. One task
// computes the whole sum, so its order does not depend on the number of threads.
#include "engine/cpu/kernels/fill.h"
#include "engine/cpu/kernels/simd.h"

namespace longtake::cpu::LONGTAKE_ISA {
namespace {

// c[r][n] += sum over k of a[r * a_row + k * a_k] * b[k][n], for MR rows and NV vectors. With a_row = 1 it is an update
// of rank `depth` by columns of a; with a_k = 1 it is a product of rows.
template <int MR, int NV>
void SmallTile(const float* a, int64_t a_row, int64_t a_k, const float* b, int64_t b_stride, int64_t depth, float* c,
               int64_t c_stride) {
  V acc[MR][NV];
  for (int r = 0; r < MR; ++r) {
    for (int v = 0; v < NV; ++v) acc[r][v] = Load(c + r * c_stride + v * kLanes);
  }
#pragma GCC unroll 1
  for (int64_t k = 0; k < depth; ++k) {
    V w[NV];
    for (int v = 0; v < NV; ++v) w[v] = Load(b + k * b_stride + v * kLanes);
    for (int r = 0; r < MR; ++r) {
      const V x = Set(a[r * a_row + k * a_k]);
      for (int v = 0; v < NV; ++v) acc[r][v] = Fma(x, w[v], acc[r][v]);
    }
  }
  for (int r = 0; r < MR; ++r) {
    for (int v = 0; v < NV; ++v) Store(c + r * c_stride + v * kLanes, acc[r][v]);
  }
}

// Accumulators: 6 x 4 vectors with 32 registers, 4 x 2 with 16.
#if defined(__AVX512F__)
constexpr int kRows = 6, kVectors = 4;
#else
constexpr int kRows = 4, kVectors = 2;
#endif

template <int NV>
void RowsOfTiles(int64_t rows, const float* a, int64_t a_row, int64_t a_k, const float* b, int64_t b_stride,
                 int64_t depth, float* c, int64_t c_stride) {
  int64_t r = 0;
  for (; r + kRows <= rows; r += kRows) {
    SmallTile<kRows, NV>(a + r * a_row, a_row, a_k, b, b_stride, depth, c + r * c_stride, c_stride);
  }
  for (; r < rows; ++r) SmallTile<1, NV>(a + r * a_row, a_row, a_k, b, b_stride, depth, c + r * c_stride, c_stride);
}

// The same for any number of rows, and of columns that is a multiple of kLanes.
void Accumulate(int64_t rows, int64_t columns, const float* a, int64_t a_row, int64_t a_k, const float* b,
                int64_t b_stride, int64_t depth, float* c, int64_t c_stride) {
  for (int64_t n = 0; n < columns; n += kVectors * kLanes) {
    const int64_t vectors = (columns - n) / kLanes;
    if (vectors >= kVectors) {
      RowsOfTiles<kVectors>(rows, a, a_row, a_k, b + n, b_stride, depth, c + n, c_stride);
    } else if (vectors == 3) {
      RowsOfTiles<3>(rows, a, a_row, a_k, b + n, b_stride, depth, c + n, c_stride);
    } else if (vectors == 2) {
      RowsOfTiles<2>(rows, a, a_row, a_k, b + n, b_stride, depth, c + n, c_stride);
    } else {
      RowsOfTiles<1>(rows, a, a_row, a_k, b + n, b_stride, depth, c + n, c_stride);
    }
  }
}

// The workspace of a task, in floats. Rows are `padded` apart.
struct Scratch {
  Scratch(float* memory, int64_t padded) {
    ST = memory;
    z = ST + padded * padded;
    own_z = z + padded;
    plain = own_z + padded;
    rotated = plain + padded;
    value = rotated + kLinearTile * padded;
    out = value + kLinearTile * padded;
    denominator = out + kLinearTile * padded;
  }
  float *ST, *z, *own_z, *plain, *rotated, *value, *out, *denominator;
};

LT_INLINE void CopyFloats(const float* from, int64_t n, float* to) {
  __builtin_memcpy(to, from, static_cast<size_t>(n) * sizeof(float));
}

// Applies norm, ReLU and rotation to one token's q or k; where keys have gates the rotated copy is of the values before
// the ReLU. Padding is loaded as zeros and stays zero.
template <typename T>
void Project(const LinearAttentionTask& g, const T* x, float inverse_rms, const float* weight, const float* cosines,
             const float* sines, float* plain, float* rotated) {
  const V inverse = Set(inverse_rms);
  ForVectors(g.q.cols, [&](int64_t i, int n) {
    V v = LoadUpTo(x + i, n);
    if (weight != nullptr) v = v * inverse * LoadUpTo(weight + i, n);
    const V positive = Max(Zero(), v);  // ReLU; NaN stays NaN
    Store(plain + i, positive);
    if (g.key_gate == nullptr) v = positive;
    Store(rotated + i, Fma(v, LoadUpTo(cosines + i, n), SwapPairs(v) * LoadUpTo(sines + i, n)));
  });
}

template <typename T>
void SumKeys(const LinearAttentionTask& g, int64_t padded, const Scratch& s) {
  const int64_t d = g.q.cols, rows = g.q.rows, stride = g.q.stride;
  const T* keys = static_cast<const T*>(g.k.data);
  const T* values = static_cast<const T*>(g.v.data);
  for (int64_t first = 0; first < rows; first += kLinearTile) {
    const int64_t n = rows - first < kLinearTile ? rows - first : kLinearTile;
    for (int64_t t = 0; t < n; ++t) {
      const int64_t row = first + t;
      Project(g, keys + row * stride, g.k_inverse_rms == nullptr ? 1.f : g.k_inverse_rms[row], g.k_weight,
              g.cosines + row * d, g.sines + row * d, s.plain, s.rotated + t * padded);
      for (int64_t i = 0; i < padded; i += kLanes) Store(s.own_z + i, Load(s.own_z + i) + Load(s.plain + i));
      const V gate = Set(g.key_gate == nullptr ? 1.f : g.key_gate[row * g.key_gate_stride]);
      ForVectors(
          d, [&](int64_t i, int m) { Store(s.value + t * padded + i, LoadUpTo(values + row * stride + i, m) * gate); });
    }
    Accumulate(d, padded, s.rotated, 1, padded, s.value, padded, n, s.ST, padded);
  }
}

template <typename T, typename Out>
void Outputs(const LinearAttentionTask& g, int64_t padded, const Scratch& s) {
  const int64_t d = g.q.cols, rows = g.q.rows, stride = g.q.stride;
  const T* queries = static_cast<const T*>(g.q.data);
  Out* out = static_cast<Out*>(g.out.data);
  for (int64_t first = 0; first < rows; first += kLinearTile) {
    const int64_t n = rows - first < kLinearTile ? rows - first : kLinearTile;
    for (int64_t t = 0; t < n; ++t) {
      const int64_t row = first + t;
      Project(g, queries + row * stride, g.q_inverse_rms == nullptr ? 1.f : g.q_inverse_rms[row], g.q_weight,
              g.cosines + row * d, g.sines + row * d, s.plain, s.rotated + t * padded);
      V sum = Zero();
      for (int64_t i = 0; i < padded; i += kLanes) {
        sum = Fma(Load(s.plain + i), Load(s.z + i), sum);
        Store(s.out + t * padded + i, Zero());
      }
      s.denominator[t] = Sum(sum) + g.epsilon;
    }
    Accumulate(n, padded, s.rotated, padded, 1, s.ST, padded, d, s.out, padded);
    for (int64_t t = 0; t < n; ++t) {
      const V denominator = Set(s.denominator[t]);
      ForVectors(d, [&](int64_t i, int m) {
        StoreUpTo(out + (first + t) * g.out.stride + i, Load(s.out + t * padded + i) / denominator, m);
      });
    }
  }
}

// Converts ST [j][i] to the caller's S [i][j] and stores it with z.
void StoreState(const Scratch& s, const float* z, int64_t d, int64_t padded, float* S_out, float* z_out) {
  for (int64_t i = 0; i < d; ++i) {
    for (int64_t j = 0; j < d; ++j) S_out[i * d + j] = s.ST[j * padded + i];
    z_out[i] = z[i];
  }
}

// ST += history, which is summed oldest first; z likewise.
void AddHistory(const LinearAttentionTask& g, int64_t padded, const Scratch& s) {
  const int64_t d = g.q.cols;
  for (int64_t i = 0; i < d; ++i) {
    const int64_t S_row = g.S_offset + i * d, z_at = g.z_offset + i;
    const float* const oldest = g.history[0].S + S_row;
    if (g.history_count == 1) {
      for (int64_t j = 0; j < d; ++j) s.ST[j * padded + i] += oldest[j];
    } else {
      for (int64_t j = 0; j < d; ++j) {
        float past = oldest[j];
        for (int h = 1; h < g.history_count; ++h) past += g.history[h].S[S_row + j];
        s.ST[j * padded + i] += past;
      }
    }
    float past = g.history[0].z[z_at];
    for (int h = 1; h < g.history_count; ++h) past += g.history[h].z[z_at];
    s.z[i] += past;
  }
}

template <typename T, typename Out>
void Attend(const LinearAttentionTask& g) {
  const int64_t d = g.q.cols, padded = (d + 15) / 16 * 16;
  const Scratch s(g.scratch, padded);
  for (float* p = g.scratch; p < s.denominator; p += kLanes) Store(p, Zero());
  SumKeys<T>(g, padded, s);
  CopyFloats(s.own_z, padded, s.z);
  if (g.S_out != nullptr && (!g.store_sum || g.history_count == 0)) StoreState(s, s.z, d, padded, g.S_out, g.z_out);
  if (g.history_count > 0) {
    AddHistory(g, padded, s);
    if (g.S_out != nullptr && g.store_sum) StoreState(s, s.z, d, padded, g.S_out, g.z_out);
  }
  Outputs<T, Out>(g, padded, s);
}

void LinearAttention(const LinearAttentionTask& g) {
  if (g.q.dtype != DType::kF32) {
    Attend<bf16, bf16>(g);
  } else if (g.out.dtype != DType::kF32) {
    Attend<float, bf16>(g);
  } else {
    Attend<float, float>(g);
  }
}

}  // namespace

void FillLinearAttention(KernelTable* table) { table->linear_attention = LinearAttention; }

}  // namespace longtake::cpu::LONGTAKE_ISA
