// Internal to cuda/: what the families of one stream share, and how they are made. Each family is in the file of its
// name; it translates arguments to launches. The kernels and what launches them are in kernels/.
#ifndef LONGTAKE_ENGINE_CUDA_FAMILIES_H_
#define LONGTAKE_ENGINE_CUDA_FAMILIES_H_

#include <memory>
#include <string>

#include "engine/cuda/context.h"
#include "engine/cuda/launch_timer.h"
#include "engine/cuda/matmul.h"
#include "engine/cuda/products.h"
#include "engine/cuda/rotary.h"
#include "engine/ops/ops.h"

namespace longtake::cuda {

struct StreamState {
  std::unique_ptr<CudaLaunchTimer> timer;
  std::unique_ptr<Context> context;
  std::unique_ptr<MatMul> matmul;
  std::unique_ptr<Products> products;
  RotaryTables rotary;
  OperandType low_precision = OperandType::kBf16;  // of weights that KernelShape marks; kBf16: none is quantized

  Launcher& launcher() const { return context->launcher(); }
  Staging& staging() const { return context->staging(); }
};

// `state` and `family` outlive the result.
std::unique_ptr<Device> MakeDevice(StreamState& state);
std::unique_ptr<Scratch> MakeScratch(StreamState& state);
std::unique_ptr<WeightPacker> MakeWeightPacker(StreamState& state, Device& device);
std::unique_ptr<DenseOps> MakeDense(FamilyContext* family, StreamState& state);
std::unique_ptr<NormOps> MakeNorm(FamilyContext* family, StreamState& state);
std::unique_ptr<ElementwiseOps> MakeElementwise(FamilyContext* family, StreamState& state);
std::unique_ptr<AttentionOps> MakeAttention(FamilyContext* family, StreamState& state);
std::unique_ptr<ConvolutionOps> MakeConvolution(FamilyContext* family, StreamState& state);
std::unique_ptr<LatentOps> MakeLatents(FamilyContext* family, StreamState& state);
std::unique_ptr<SamplerOps> MakeSampler(FamilyContext* family, StreamState& state);
std::unique_ptr<HybridOps> MakeHybrid(FamilyContext* family, StreamState& state);
std::unique_ptr<ShuffleOps> MakeShuffle(FamilyContext* family, StreamState& state);

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_FAMILIES_H_
