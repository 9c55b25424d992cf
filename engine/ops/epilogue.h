// What is applied to a product before it is stored.
#ifndef LONGTAKE_ENGINE_OPS_EPILOGUE_H_
#define LONGTAKE_ENGINE_OPS_EPILOGUE_H_

#include <cstdint>
#include <span>

#include "engine/ops/activation.h"

namespace longtake {

// With acc = x W^T + bias:
//   y = activation(acc)                                     without `residual`
//   y += gate[mod_row[n]] * activation(acc)                 with it; y is f32, and without `gate` the factor is 1
struct Epilogue {
  Activation activation = Activation::kNone;
  bool residual = false;
  const float* gate = nullptr;  // f32 rows, `gate_stride` floats apart, each as wide as y
  int64_t gate_stride = 0;
  std::span<const int32_t> mod_row;  // for each row of y, its row of `gate`; empty without `gate`
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_OPS_EPILOGUE_H_
