#include "engine/cpu/matmul.h"

#include <algorithm>

#include "engine/cpu/views.h"

namespace longtake::cpu {
namespace {

// Returns the rows of a block: as many as leave at least four blocks for each thread, so that all threads finish at
// about the same time. 24 is a multiple of the register tiles' 6, 8 and 12 rows.
int BlockRows(int64_t rows, int64_t panels, int threads) {
  int block = kMaxBlockRows;
  while (block > 24 && panels * ((rows + block - 1) / block) < 4 * threads) block /= 2;
  return block;
}

bool AllEqual(const void* const* pointers, int n, const void* value) {
  return std::all_of(pointers, pointers + n, [value](const void* p) { return p == value; });
}

}  // namespace

void Matmul(Context& context, const CpuKernel& w, int64_t rows,
            absl::FunctionRef<void(int64_t, int, const RowPointers&)> fill, const MatmulStore& store) {
  if (rows == 0) return;
  // The larger operand, weights or rows, is read once; the smaller is read repeatedly from the cache. A task is one
  // panel and one block of rows, or one block of rows and all panels in turn, which then share the row pointers.
  const bool by_panel = static_cast<int64_t>(w.bytes()) > rows * w.shape().inputs * BytesOf(w.type());
  const int64_t panels = static_cast<int64_t>(w.panels().size()), panel_tasks = by_panel ? panels : 1;
  const int block_rows = BlockRows(rows, panel_tasks, context.pool->threads());
  const int64_t blocks = (rows + block_rows - 1) / block_rows;
  const int taps = w.shape().taps(), parts = w.parts();
  const int64_t part_bytes = w.part_inputs() * BytesOf(w.type());
  const bool int8 = w.type() == DType::kI8;
  const auto run = int8                      ? context.kernels.gemm_int8
                   : w.type() == DType::kF32 ? context.kernels.gemm_f32
                                             : context.kernels.gemm_bf16;

  const size_t pointers = static_cast<size_t>(taps) * parts + 3;
  const size_t scratch_floats = GemmScratchFloats(w.chunk() * w.padded_part_inputs());
  Workspace::Scope scope(context.workspace);
  const Workspace::PerThread scratches =
      scope.TakePerThread(scratch_floats * sizeof(float) + pointers * kMaxBlockRows * sizeof(void*));
  context.ParallelFor(panel_tasks * blocks, [&](int64_t task, int thread) {
    const int64_t block = task % blocks;
    float* const scratch = scratches.floats_of(thread);
    auto** memory = reinterpret_cast<void**>(scratch + scratch_floats);
    RowPointers p;
    p.a = const_cast<const void**>(memory);
    p.out = memory + int64_t{taps} * parts * kMaxBlockRows;
    p.add = const_cast<const void**>(p.out + kMaxBlockRows);
    p.gate = const_cast<const float**>(reinterpret_cast<float**>(p.out + 2 * kMaxBlockRows));

    const int64_t first = block * block_rows;
    const int n = static_cast<int>(std::min<int64_t>(block_rows, rows - first));
    fill(first, n, p);
    // Leaves out taps that are outside the video for every row here (frames before the first and after the last). They
    // would add +0 to a sum that began with +0, and the sum is not -0 once the bias is added, so no byte changes.
    int first_tap = 0, end_tap = taps;
    while (end_tap - first_tap > 1 && AllEqual(p.a + int64_t{first_tap} * kMaxBlockRows, n, store.zeros)) ++first_tap;
    while (end_tap - first_tap > 1 && AllEqual(p.a + int64_t{end_tap - 1} * kMaxBlockRows, n, store.zeros)) --end_tap;
    // Each part of a tap becomes a tap of its own. The loop runs backwards, so that no pointer is overwritten before it
    // is read.
    if (parts > 1) {
      for (int t = taps - 1; t >= 0; --t) {
        for (int r = 0; r < n; ++r) {
          const auto* row = static_cast<const std::byte*>(p.a[t * kMaxBlockRows + r]);
          for (int part = parts - 1; part >= 0; --part) {
            p.a[(int64_t{t} * parts + part) * kMaxBlockRows + r] = row + part * part_bytes;
          }
        }
      }
    }
    GemmBlock g;
    g.a = p.a + int64_t{first_tap} * parts * kMaxBlockRows;
    g.a_stride = kMaxBlockRows;
    g.rows = n;
    g.taps = (end_tap - first_tap) * parts;
    g.k = int8 ? w.padded_part_inputs() : w.part_inputs();
    g.chunk_taps = w.chunk();
    g.scratch = scratch;
    g.low_rank = store.low_rank.data();
    g.low_rank_count = static_cast<int64_t>(store.low_rank.size());
    g.low_rank_type = context.activation_type;
    g.row_scales = store.row_scales;
    g.first_row = first;
    g.activation = store.activation;
    g.add = store.add ? p.add : nullptr;
    g.add_type = store.add_type;
    g.gate = store.gate ? p.gate : nullptr;
    g.accumulate = store.accumulate;
    g.out = p.out;
    g.out_type = store.out_type;
    g.gated = w.gated();
    const int64_t first_panel = by_panel ? task / blocks : 0;
    for (int64_t i = first_panel; i < first_panel + (by_panel ? 1 : panels); ++i) {
      const CpuKernel::Panel& panel = w.panels()[i];
      g.b_tap_bytes = w.part_bytes(panel);
      g.b = panel.data + first_tap * parts * g.b_tap_bytes;
      g.vectors = panel.vectors;
      g.columns = panel.columns;
      g.first_column = panel.first_column;
      g.bias = w.bias() + panel.first_column;
      g.column_offsets = int8 ? w.offsets(panel) : nullptr;
      g.column_scales = int8 ? w.scales(panel) : nullptr;
      run(g);
    }
  });
}

}  // namespace longtake::cpu
