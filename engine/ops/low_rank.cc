#include "engine/ops/low_rank.h"

#include "engine/ops/check.h"

namespace longtake {

void RequireLowRank(std::span<const LowRankTerm> terms, const KernelShape& kernel, int64_t rows, bool supported,
                    const char* operation) {
  Require(terms.empty() || supported, operation, "the backend adds low-rank terms");
  for (const LowRankTerm& term : terms) {
    const KernelShape& a = term.a->shape();
    const KernelShape& b = term.b->shape();
    Require(a.inputs == kernel.inputs && a.kt == kernel.kt && a.kh == kernel.kh && a.kw == kernel.kw, operation,
            "A of a low-rank term has the inputs and taps of the kernel");
    Require(b.outputs == kernel.outputs && b.taps() == 1 && b.inputs == a.outputs, operation,
            "B of a low-rank term is [outputs, rank]");
    Require(term.first_row >= 0 && term.rows >= 0 && term.first_row + term.rows <= rows, operation,
            "a low-rank term lies within the rows");
    Require(term.first_column >= 0 && term.columns >= 0 && term.first_column + term.columns <= kernel.outputs,
            operation, "a low-rank term lies within the outputs");
  }
}

}  // namespace longtake
