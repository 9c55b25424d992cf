// Dense layers with the products of a device's quantized types, so that their quality can be measured without a
// device.
//
// Kernels marked low_precision, of one tap: weights and each row of activations are rounded as engine/cuda rounds them
// (engine/quantization) and multiplied as bf16 numbers. That loses nothing: e4m3 has 4 significant bits, an e2m1 number
// times its block's e4m3 scale 6, and bf16 8. What is left are the sums, in float32 and another order than a device's,
// and the scales, applied to the sums as there. Everything else is bfloat16. It takes longer than bfloat16, never less.
#ifndef LONGTAKE_ENGINE_CPU_QUANTIZED_H_
#define LONGTAKE_ENGINE_CPU_QUANTIZED_H_

#include <memory>

#include "engine/cpu/context.h"
#include "engine/ops/dense.h"
#include "engine/ops/weights.h"

namespace longtake::cpu {

enum class Quantization { kNone, kFloat8, kNvfp4 };

// Not of kNone.
std::unique_ptr<WeightPacker> MakeQuantizedWeightPacker(Context& context, Quantization quantization);
std::unique_ptr<DenseOps> MakeQuantizedDenseOps(Context& context, Quantization quantization);

}  // namespace longtake::cpu

#endif  // LONGTAKE_ENGINE_CPU_QUANTIZED_H_
