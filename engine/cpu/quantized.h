// Dense layers that compute with a device's quantized types, so that their quality can be measured without a device.
//
// Applies to kernels marked low_precision, which have one tap. Weights and rows of activations are rounded as
// engine/cuda rounds them (engine/quantization) and multiplied as bf16 numbers. The conversion is exact: bf16 has 8
// significant bits, e4m3 has 4, and an e2m1 number times its block's e4m3 scale has 6. Sums are float32, in another
// order than a device's; scales are applied to the sums, as on a device. Everything else is bfloat16. It is slower than
// bfloat16.
#ifndef LONGTAKE_ENGINE_CPU_QUANTIZED_H_
#define LONGTAKE_ENGINE_CPU_QUANTIZED_H_

#include <memory>

#include "engine/cpu/context.h"
#include "engine/ops/dense.h"
#include "engine/ops/weights.h"

namespace longtake::cpu {

// int8 is not emulated and not part of this file: kernels of it are CpuKernel's (packing.h), and rows are quantized
// before a product (dense.cc).
constexpr bool IsEmulated(Quantization q) { return q == Quantization::kFloat8 || q == Quantization::kNvfp4; }

// Require one that is emulated.
std::unique_ptr<WeightPacker> MakeQuantizedWeightPacker(Context& context, Quantization quantization);
std::unique_ptr<DenseOps> MakeQuantizedDenseOps(Context& context, Quantization quantization);

}  // namespace longtake::cpu

#endif  // LONGTAKE_ENGINE_CPU_QUANTIZED_H_
