// The only entry to matrix products: divides a product into blocks for the threads and passes row pointers to the
// kernel.
#ifndef LONGTAKE_ENGINE_CPU_MATMUL_H_
#define LONGTAKE_ENGINE_CPU_MATMUL_H_

#include <span>

#include "absl/functional/function_ref.h"
#include "engine/cpu/context.h"
#include "engine/cpu/packing.h"

namespace longtake::cpu {

// Row pointers of one block: a[tap * kMaxBlockRows + r], the others [r].
struct RowPointers {
  const void** a;
  void** out;
  const void** add;
  const float** gate;
};

struct MatmulStore {
  DType out_type = DType::kF32;
  Activation activation = Activation::kNone;
  bool accumulate = false;
  bool gate = false, add = false;    // whether `fill` sets these pointers
  DType add_type = DType::kF32;      // element type of `add`
  const std::byte* zeros = nullptr;  // the row that `fill` uses for taps outside the input; null: there are none
  std::span<const LowRankRows> low_rank;
  const float* row_scales = nullptr;  // int8 kernels: of each row (KernelTable::quantize_rows)
};

// Rows of a have the kernel's type; of an int8 kernel they are quantized.
//
// fill(first, n, p) sets the pointers of rows [first, first + n), n <= kMaxBlockRows. It is called in any order, on any
// thread, and possibly several times for a row.
void Matmul(Context& context, const CpuKernel& w, int64_t rows,
            absl::FunctionRef<void(int64_t first, int n, const RowPointers& p)> fill, const MatmulStore& store);

}  // namespace longtake::cpu

#endif  // LONGTAKE_ENGINE_CPU_MATMUL_H_
