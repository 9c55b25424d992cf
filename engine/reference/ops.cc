#include <memory>
#include <utility>

#include "engine/reference/families.h"
#include "engine/reference/reference_ops.h"

namespace longtake {
namespace {

class ReferenceOps final : public Ops {
 public:
  ReferenceOps() : Ops(MakeParts()) {}

 private:
  static Parts MakeParts() {
    auto context = std::make_unique<FamilyContext>();
    context->activation_type = DType::kF32;
    FamilyContext* families = context.get();
    auto device = reference::MakeDevice();
    auto weights = reference::MakeWeightPacker(device.get());
    return {.context = std::move(context),
            .device = std::move(device),
            .scratch = reference::MakeScratch(),
            .weights = std::move(weights),
            .dense = reference::MakeDenseOps(families),
            .norm = reference::MakeNormOps(families),
            .elementwise = reference::MakeElementwiseOps(families),
            .attention = reference::MakeAttentionOps(families),
            .convolution = reference::MakeConvolutionOps(families),
            .latents = reference::MakeLatentOps(families),
            .sampler = reference::MakeSamplerOps(families),
            .shuffle = reference::MakeShuffleOps(families),
            .hybrid = reference::MakeHybridOps(families)};
  }
};

}  // namespace

std::unique_ptr<Ops> MakeReferenceOps() { return std::make_unique<ReferenceOps>(); }

}  // namespace longtake
