// The kernels that each instruction set provides.
//
// kernels/*.cc is compiled once for each instruction set, with that set's compiler flags, into its own namespace. If it
// contained a function of the standard library, the linker could keep that copy for the whole program, which would then
// run AVX-512 on a machine without it. These sources therefore use only plain structs, intrinsics and anonymous
// namespaces. This header is included by both sides and contains only declarations and plain data. Of the views in
// core/matrix.h the kernels use the fields and call no function. Views are f32 or bf16.
#ifndef LONGTAKE_ENGINE_CPU_KERNELS_KERNEL_TABLE_H_
#define LONGTAKE_ENGINE_CPU_KERNELS_KERNEL_TABLE_H_

#include <cstddef>
#include <cstdint>

#include "engine/core/matrix.h"
#include "engine/ops/activation.h"
#include "engine/ops/linear_state.h"

namespace longtake::cpu {

// Widest panel of packed weights, in vectors; most rows of one block of a matrix product.
constexpr int kMaxPanelVectors = 4;
constexpr int kMaxBlockRows = 192;

// A low-rank term of a matrix product (ops/low_rank.h), for some rows of the product: adds t B to their sums.
struct LowRankRows {
  int64_t first_row, rows;        // of the product
  int64_t first_column, columns;  // outputs beyond are not changed
  int64_t rank;
  const char* t;  // [rows][rank]
  int64_t t_row_bytes;
  const char* b;           // packed like the product's weights, in panels of the same columns
  int64_t b_column_bytes;  // of one output column
};

// One block of output rows times one panel of output columns:
// acc[r][n] = sum over taps t and inputs k of a[t][r][k] * B[t][k][n]
// A is indirect: each tap and row has a pointer to k contiguous inputs, or to a row of zeros if the tap is outside the
// input. One kernel thus serves dense layers, convolutions in time and convolutions in space.
struct GemmBlock {
  const void* const* a;  // [taps][a_stride] row pointers
  int64_t a_stride;
  int rows;
  int taps;
  int64_t k;      // inputs of one tap
  const void* b;  // the panel: [taps][k rounded up][columns]; bf16 has pairs of k, int8 fours
  int64_t b_tap_bytes;
  int vectors;     // width of the panel
  int chunk_taps;  // taps whose weights fit into L2 together; all rows are computed before the next chunk
  float* scratch;  // GemmScratchFloats() of the inputs of chunk_taps taps
  // int8 only: sums are 32-bit integers until all taps are in them; then (sum + column_offsets) * column_scales *
  // row_scales. Columns are the panel's, rows the product's.
  const int32_t* column_offsets;
  const float* column_scales;
  const float* row_scales;
  // Added to acc before the epilogue, in this order.
  const LowRankRows* low_rank;
  int64_t low_rank_count;
  DType low_rank_type;
  int64_t first_row;  // of the block in the product
  // Epilogue, in this order: + bias, + add, activation, * gate, + the old output, store.
  int columns;           // without the panel's padding
  int64_t first_column;  // of the panel; offset into the rows below
  const float* bias;     // at the panel's first column; padded
  Activation activation;
  const void* const* add;  // row pointers of type add_type, or null
  DType add_type;
  const float* const* gate;  // row pointers, or null
  bool accumulate;           // if set, out is f32
  void* const* out;          // row pointers
  DType out_type;
  // If set, the epilogue is only activation(left half of the panel) * right half; `columns` and `first_column` count
  // columns of the result.
  bool gated;
};

// Sums of a block between two chunks; AMX also needs copies of 32 rows whose inputs are not equidistant.
constexpr int64_t GemmScratchFloats(int64_t chunk_inputs) {
  return int64_t{kMaxBlockRows} * kMaxPanelVectors * 16 + 16 * chunk_inputs;
}

// Softmax attention of some queries of one head, over packed keys and values.
struct AttentionBlock {
  ConstMat q;            // act [queries, head_dim], normalized and rotated
  const void* k_panels;  // keys as columns: panels of [head_dim][panel width], like B of a GemmBlock
  const void* v_panels;  // values: panels of [keys][panel width]
  int64_t keys;
  float scale, soft_cap;
  bool causal;
  int64_t window;
  int64_t first_query;  // position of row 0
  Mat out;              // act or f32 [queries, head_dim]
  float* scratch;       // AttentionScratchFloats(head_dim)
};
constexpr int kAttentionRows = 48;   // queries of a block
constexpr int kAttentionKeys = 256;  // keys of a block: scores take 48 KiB, probabilities the same or half
constexpr int64_t AttentionScratchFloats(int64_t head_dim) {
  return kAttentionRows * (2 * kAttentionKeys + (head_dim + 63) / 64 * 64);
}

// Linear attention of one head over one segment: ops/attention.h, LinearAttentionArgs.
struct LinearAttentionTask {
  ConstMat q, k, v;                            // [rows, head_dim] of the head and segment; same type and stride
  const float *q_inverse_rms, *k_inverse_rms;  // for each row, over all heads
  const float *q_weight, *k_weight;            // at the head's first element, or null
  const float* key_gate;                       // of the head: of row r at [r * key_gate_stride], or null
  int64_t key_gate_stride;
  float epsilon;  // of the denominator
  // For each row, head_dim cosines, equal within a pair, and head_dim sines, with signs (-, +) within a pair.
  const float *cosines, *sines;
  const LinearAttentionState* history;  // covers all heads
  int history_count;
  int64_t S_offset, z_offset;  // offset of the head in a state
  float *S_out, *z_out;        // or null
  bool store_sum;
  Mat out;         // [rows, head_dim]; bf16 if q, k and v are
  float* scratch;  // LinearAttentionScratchFloats(head_dim)
};
// Tokens of one tile: a multiple of the register tile's 6 rows. k and v of 112 channels (32 KiB) fit into the L1 cache.
constexpr int kLinearTile = 36;
constexpr int64_t LinearAttentionScratchFloats(int64_t head_dim) {
  const int64_t padded = (head_dim + 15) / 16 * 16;
  return padded * (padded + 3 + 3 * kLinearTile) + kLinearTile;
}

// Depthwise 3x3 over one row of one frame, then a * SiLU(g), for channels [first, first + count) of each half.
struct DepthwiseBlock {
  ConstMat x;  // one frame, [height * width, 2 * half]
  int height, width, row;
  int64_t half;  // channels of one half
  int64_t first, count;
  const float* weight;  // [9][2 * half]
  const float* bias;    // [2 * half]
  bool silu;            // of SiLU(x)
  Mat y;                // same type as x, [height * width, half]
};

struct NormRows {
  ConstMat x;
  Mat y;  // same shape as x
  float eps;
  const float* weight;         // rms_norm, channel_norm (null: ones)
  float weight_offset;         // rms_norm
  bool residual;               // rms_norm: y += ...
  bool silu;                   // channel_norm
  const float *shift, *scale;  // layer_norm, or null
  int64_t mod_stride;
  const int32_t* mod_row;
};

struct KernelTable {
  int lanes;                             // floats in a vector
  int tile_rows[kMaxPanelVectors + 1];   // rows of the register tile by panel width; 0: no such width
  int bf16_k_multiple, int8_k_multiple;  // a tap's packed k is padded to a multiple of this
  void (*gemm_f32)(const GemmBlock&);
  void (*gemm_bf16)(const GemmBlock&);  // null if the instruction set has no bf16 products
  // Rows of bytes as quantize_rows writes them, weights of signed bytes. Both are null if the instruction set has no
  // products of bytes.
  void (*gemm_int8)(const GemmBlock&);
  // Row r becomes round(x / scales[r]) + 128 as unsigned bytes, with scales[r] = largest |x| / 127, and 128 from x.cols
  // to `stride`. If a number of the row is not finite, scales[r] is NaN.
  void (*quantize_rows)(ConstMat x, float* scales, uint8_t* out, int64_t stride);
  void (*attention_f32)(const AttentionBlock&);
  void (*attention_bf16)(const AttentionBlock&);
  void (*linear_attention)(const LinearAttentionTask&);
  void (*depthwise_glu)(const DepthwiseBlock&);
  void (*layer_norm)(const NormRows&);
  void (*rms_norm)(const NormRows&);
  void (*channel_norm)(const NormRows&);
  void (*inverse_rms)(ConstMat x, float eps, float* out);
  // y[r] = x[r] * inverse[r] * weight.
  void (*scale_rows)(ConstMat x, const float* inverse, const float* weight, Mat y);
  void (*activate)(ConstMat x, Activation a, Mat y);
  void (*add_row)(ConstMat x, const float* row, Mat y);
  // y[r] = x[r], rotated by halves: element i is paired with element i + half, and the angles are at [r * half + i].
  void (*rotate_halves)(ConstMat x, const float* cosines, const float* sines, Mat y);
  // out[i] = sum over terms of weight * x[i].
  void (*combine)(const float* weights, const float* const* x, int terms, int64_t n, float* out);
};

namespace avx2 {
void FillTable(KernelTable* table);
}
namespace avx512 {
void FillTable(KernelTable* table);
}
namespace avx512_vnni {
// Adds products of bytes to avx512's table.
void FillTable(KernelTable* table);
}  // namespace avx512_vnni
namespace avx512_bf16 {
void FillTable(KernelTable* table);
}
namespace amx_bf16 {
// Matrix products of bf16 and of bytes use AMX; everything else is that of avx512_bf16.
void FillTable(KernelTable* table);
// The same, with the documented arithmetic of the tile instructions in plain loops: runs and is tested without AMX.
void FillEmulatedTable(KernelTable* table);
}  // namespace amx_bf16

}  // namespace longtake::cpu

#endif  // LONGTAKE_ENGINE_CPU_KERNELS_KERNEL_TABLE_H_
