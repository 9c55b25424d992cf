// oneDNN's matrix product on given shapes: what dense layers cost when nothing else is done.
#ifndef LONGTAKE_BENCH_ONEDNN_GEMM_H_
#define LONGTAKE_BENCH_ONEDNN_GEMM_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/dense_shapes.h"

namespace longtake {

// Prepared products of all shapes, in one type. Weights are packed beforehand in the layout that oneDNN asks for;
// activations and results are plain rows. The memory of the largest shape is shared by all.
class OnednnGemm {
 public:
  // dtype: "float32" | "bfloat16".
  static absl::StatusOr<std::unique_ptr<OnednnGemm>> Make(const std::vector<DenseShape>& shapes,
                                                          const std::string& dtype);
  ~OnednnGemm();

  // Runs each shape once and keeps its best time so far. Seconds over all shapes, each times its count.
  absl::StatusOr<double> Round();

 private:
  struct Impl;
  explicit OnednnGemm(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace longtake

#endif  // LONGTAKE_BENCH_ONEDNN_GEMM_H_
