// The one way to a matrix product: cuts it into blocks for the threads and hands the kernel its row pointers.
#ifndef LONGTAKE_ENGINE_CPU_MATMUL_H_
#define LONGTAKE_ENGINE_CPU_MATMUL_H_

#include "absl/functional/function_ref.h"
#include "engine/cpu/context.h"
#include "engine/cpu/packing.h"

namespace longtake::cpu {

// Pointers of one block of rows. a[tap * kMaxBlockRows + r]; the others by r.
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
  DType add_type = DType::kF32;      // of what `add` points to
  const std::byte* zeros = nullptr;  // what `fill` lets `a` point to outside of the input; null: never outside
};

// fill(first, n, p) sets the pointers of rows [first, first + n), n <= kMaxBlockRows. It is called in any order and on
// any thread, more than once for a row.
void Matmul(Context& context, const CpuKernel& w, int64_t rows,
            absl::FunctionRef<void(int64_t first, int n, const RowPointers& p)> fill, const MatmulStore& store);

}  // namespace longtake::cpu

#endif  // LONGTAKE_ENGINE_CPU_MATMUL_H_
