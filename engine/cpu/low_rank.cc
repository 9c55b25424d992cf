#include "engine/cpu/low_rank.h"

#include <algorithm>
#include <cstddef>

#include "engine/cpu/packing.h"
#include "engine/cpu/views.h"
#include "engine/ops/check.h"

namespace longtake::cpu {

std::span<const LowRankRows> PrepareLowRank(Context& context, Workspace::Scope& scope,
                                            std::span<const LowRankTerm> terms,
                                            absl::FunctionRef<void(int64_t, int, const void**)> fill_inputs,
                                            const std::byte* zeros) {
  if (terms.empty()) return {};
  const DType type = context.activation_type;
  auto* const out = reinterpret_cast<LowRankRows*>(scope.Take(terms.size() * sizeof(LowRankRows)));
  for (size_t i = 0; i < terms.size(); ++i) {
    const LowRankTerm& term = terms[i];
    const auto& a = static_cast<const CpuKernel&>(*term.a);
    const auto& b = static_cast<const CpuKernel&>(*term.b);
    Require(b.parts() == 1, "PrepareLowRank", "the rank's panels fit into the L2 cache");
    const int64_t rank = a.shape().outputs;
    const Mat t = scope.TakeMat(type, term.rows, rank);
    float* const scales = scope.TakeFloats(rank);
    if (!context.planning()) std::fill(scales, scales + rank, term.scale);
    Matmul(context, a, term.rows,
           [&](int64_t first, int n, const RowPointers& p) {
             fill_inputs(term.first_row + first, n, p.a);
             for (int r = 0; r < n; ++r) {
               p.out[r] = RowAt(t, first + r);
               p.gate[r] = scales;
             }
           },
           {.out_type = type, .gate = true, .zeros = zeros});
    if (context.planning()) continue;
    const CpuKernel::Panel& panel = b.panels().front();
    out[i] = {.first_row = term.first_row,
              .rows = term.rows,
              .first_column = term.first_column,
              .columns = term.columns,
              .rank = rank,
              .t = static_cast<const char*>(t.data),
              .t_row_bytes = t.stride * BytesOf(type),
              .b = reinterpret_cast<const char*>(panel.data),
              .b_column_bytes = b.part_bytes(panel) / (int64_t{panel.vectors} * context.kernels.lanes)};
  }
  return {out, terms.size()};
}

}  // namespace longtake::cpu
