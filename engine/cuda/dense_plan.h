// How a dense layer runs: a matrix product with what it can do itself, and kernels for what it cannot.
#ifndef LONGTAKE_ENGINE_CUDA_DENSE_PLAN_H_
#define LONGTAKE_ENGINE_CUDA_DENSE_PLAN_H_

#include <cstdint>

#include "engine/cuda/matmul.h"
#include "engine/ops/activation.h"

namespace longtake::cuda {

// A layer as ops/epilogue.h defines it: y = activation(x w^T + add + bias), or y += gate * activation(...).
struct DenseLayer {
  OperandType type = OperandType::kBf16;  // of the weights
  int64_t outputs = 0;
  bool bias = false;
  bool x_aligned =
      true;  // the product can read x where it lies: bf16 rows of w.stride() elements that begin at 16 bytes
  bool y_aligned = true;  // the product can write y where it lies: rows begin at 16 bytes
  bool y_f32 = false;     // else bf16
  bool add = false;
  Activation activation = Activation::kNone;
  bool residual = false;
  bool gate = false;
};

enum class Before : uint8_t {
  kNothing,
  kPad,       // x is copied into aligned rows with zeros behind them
  kQuantize,  // x is converted to the weights' type
};
enum class After : uint8_t {
  kNothing,
  kActivation,  // on y, in place
  kEpilogue,    // the product's sums go to scratch, and a kernel does all that the layer does to them
};

struct DensePlan {
  Before before = Before::kNothing;
  ProductEpilogue product = ProductEpilogue::kNone;
  After after = After::kNothing;
  bool narrow_sums = false;  // of kEpilogue: the sums in scratch are bf16, else f32
  friend bool operator==(const DensePlan&, const DensePlan&) = default;
};

DensePlan ChooseDense(const DenseLayer& layer);

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_DENSE_PLAN_H_
