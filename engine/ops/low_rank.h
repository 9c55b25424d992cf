// Low-rank terms of dense layers and convolutions: what adapters (LoRA) add to a layer's product.
#ifndef LONGTAKE_ENGINE_OPS_LOW_RANK_H_
#define LONGTAKE_ENGINE_OPS_LOW_RANK_H_

#include <cstdint>
#include <span>

#include "engine/ops/weights.h"

namespace longtake {

// Adds t B^T with t = scale * (x A^T) to the product of some rows, before activation and gate. t is rounded to the
// activation type; the sum over the rank continues the layer's own sum in its accumulator type.
//
// The terms of a row are added in the order of the list, so a row's result depends on its own terms alone.
struct LowRankTerm {
  const PackedKernel* a = nullptr;  // [rank, inputs], with the taps of the layer's kernel, without bias
  // [outputs, rank] without bias, of all outputs of the layer's kernel. Rows outside [first_column, first_column +
  // columns) are zeros: an adapter of `q` alone has them where the kernel stacks q, k and v.
  const PackedKernel* b = nullptr;
  float scale = 1.f;
  int64_t first_row = 0, rows = 0;  // of x and y
  int64_t first_column = 0, columns = 0;
};

// Checks the terms of an operation on `rows` rows with `kernel`. `supported`: whether the backend adds low-rank terms.
void RequireLowRank(std::span<const LowRankTerm> terms, const KernelShape& kernel, int64_t rows, bool supported,
                    const char* operation);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_OPS_LOW_RANK_H_
