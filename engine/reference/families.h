// Internal to reference/: makes the components of its Ops. Each family is a class in the source file of its name.
#ifndef LONGTAKE_ENGINE_REFERENCE_FAMILIES_H_
#define LONGTAKE_ENGINE_REFERENCE_FAMILIES_H_

#include <memory>

#include "engine/ops/ops.h"

namespace longtake::reference {

std::unique_ptr<Device> MakeDevice();
std::unique_ptr<Scratch> MakeScratch();
std::unique_ptr<WeightPacker> MakeWeightPacker(Device* device);

std::unique_ptr<DenseOps> MakeDenseOps(FamilyContext* context);
std::unique_ptr<NormOps> MakeNormOps(FamilyContext* context);
std::unique_ptr<ElementwiseOps> MakeElementwiseOps(FamilyContext* context);
std::unique_ptr<AttentionOps> MakeAttentionOps(FamilyContext* context);
std::unique_ptr<ConvolutionOps> MakeConvolutionOps(FamilyContext* context);
std::unique_ptr<LatentOps> MakeLatentOps(FamilyContext* context);
std::unique_ptr<SamplerOps> MakeSamplerOps(FamilyContext* context);
std::unique_ptr<ShuffleOps> MakeShuffleOps(FamilyContext* context);
std::unique_ptr<HybridOps> MakeHybridOps(FamilyContext* context);

}  // namespace longtake::reference

#endif  // LONGTAKE_ENGINE_REFERENCE_FAMILIES_H_
