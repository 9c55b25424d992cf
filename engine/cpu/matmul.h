// The one way to a matrix product: cuts it into blocks for the threads and hands the kernel its row pointers.
#ifndef LONGTAKE_ENGINE_CPU_MATMUL_H_
#define LONGTAKE_ENGINE_CPU_MATMUL_H_

#include <vector>

#include "absl/functional/function_ref.h"
#include "engine/core/thread_pool.h"
#include "engine/cpu/packing.h"

namespace longtake::cpu {

// What operations share: threads, kernels and scratch. Owned by CpuOps.
struct Context {
  Context(int threads, const KernelTable& kernels, Elem activation)
      : pool(threads), table(kernels), type(activation), scratch(threads) {}
  ThreadPool pool;
  KernelTable table;
  Elem type;                       // of activations and weights
  std::vector<Workspace> scratch;  // one a thread
  Workspace shared;                // of the operation that runs
  Memory zeros;                    // a row of zeros as long as any kernel's inputs
};

// Pointers of one block of rows. a[tap * kMaxBlockRows + r]; the others by r.
struct RowPointers {
  const void** a;
  void** out;
  const void** add;
  const float** gate;
};

struct MatmulStore {
  Elem out_type = Elem::kF32;
  Act activation = Act::kNone;
  bool accumulate = false;
  bool gate = false, add = false;  // whether `fill` sets these pointers
  bool add_f32 = false;            // what `add` points to; else of the activation type
};

// fill(first, n, p) sets the pointers of rows [first, first + n), n <= kMaxBlockRows. It is called in any order and on
// any thread, more than once for a row.
void Matmul(Context& context, const CpuKernel& w, int64_t rows,
            absl::FunctionRef<void(int64_t first, int n, const RowPointers& p)> fill, const MatmulStore& store);

}  // namespace longtake::cpu

#endif  // LONGTAKE_ENGINE_CPU_MATMUL_H_
