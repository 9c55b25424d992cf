// oneDNN's matrix product with weights in the layout that it likes best: the yardstick of the kernel benchmarks.
#ifndef LONGTAKE_BENCH_ONEDNN_MATMUL_H_
#define LONGTAKE_BENCH_ONEDNN_MATMUL_H_

#include <cstdint>
#include <memory>

#include "engine/core/tensor.h"

namespace longtake {

// [rows, inputs] x [inputs, outputs] on random data, source and result in `type` (f32 or bf16).
class OneDnnMatmul {
 public:
  OneDnnMatmul(int64_t rows, int64_t inputs, int64_t outputs, DType type);
  ~OneDnnMatmul();
  void Run();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace longtake

#endif  // LONGTAKE_BENCH_ONEDNN_MATMUL_H_
