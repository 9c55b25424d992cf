// Low-rank terms of matrix products: computes t = scale * (x A^T) of each term; the product's kernel adds t B^T to its
// own sums while they are in registers. The terms' full-width results are therefore never in memory.
#ifndef LONGTAKE_ENGINE_CPU_LOW_RANK_H_
#define LONGTAKE_ENGINE_CPU_LOW_RANK_H_

#include <cstdint>
#include <span>

#include "absl/functional/function_ref.h"
#include "engine/cpu/context.h"
#include "engine/cpu/matmul.h"
#include "engine/ops/low_rank.h"

namespace longtake::cpu {

// Returns the terms as MatmulStore takes them, in memory of `scope`, which must outlive the product.
//
// fill_inputs(first, n, a) sets the row pointers a[tap * kMaxBlockRows + r] of rows [first, first + n), as they are for
// the product itself; taps outside the input point to `zeros`.
std::span<const LowRankRows> PrepareLowRank(Context& context, Workspace::Scope& scope,
                                            std::span<const LowRankTerm> terms,
                                            absl::FunctionRef<void(int64_t first, int n, const void** a)> fill_inputs,
                                            const std::byte* zeros);

}  // namespace longtake::cpu

#endif  // LONGTAKE_ENGINE_CPU_LOW_RANK_H_
