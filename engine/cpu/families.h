// Internal to cpu/: makes the components of a stream; each has one source file. All refer to the stream's context,
// which must outlive them.
#ifndef LONGTAKE_ENGINE_CPU_FAMILIES_H_
#define LONGTAKE_ENGINE_CPU_FAMILIES_H_

#include <memory>
#include <string>

#include "engine/cpu/context.h"
#include "engine/cpu/quantized.h"
#include "engine/ops/ops.h"

namespace longtake::cpu {

std::unique_ptr<Device> MakeDevice(Context& context);
std::unique_ptr<Scratch> MakeScratch(Context& context);
std::unique_ptr<WeightPacker> MakeWeightPacker(Context& context, Quantization quantization);
std::unique_ptr<DenseOps> MakeDenseOps(Context& context, Quantization quantization);
std::unique_ptr<NormOps> MakeNormOps(Context& context);
std::unique_ptr<ElementwiseOps> MakeElementwiseOps(Context& context);
std::unique_ptr<AttentionOps> MakeAttentionOps(Context& context);
std::unique_ptr<ConvolutionOps> MakeConvolutionOps(Context& context);
std::unique_ptr<LatentOps> MakeLatentOps(Context& context);
std::unique_ptr<SamplerOps> MakeSamplerOps(Context& context);
std::unique_ptr<ShuffleOps> MakeShuffleOps(Context& context);
std::unique_ptr<HybridOps> MakeHybridOps(Context& context);

// Makes a stream from a context with any kernels; MakeCpuOps chooses the kernels by the processor. Quantization
// requires bf16.
std::unique_ptr<Ops> MakeOps(std::unique_ptr<Context> context, Quantization quantization);

}  // namespace longtake::cpu

#endif  // LONGTAKE_ENGINE_CPU_FAMILIES_H_
