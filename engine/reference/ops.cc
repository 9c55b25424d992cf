#include <memory>
#include <utility>

#include "engine/reference/families.h"
#include "engine/reference/reference_ops.h"

namespace longtake {
namespace {

class ReferenceOps final : public Ops {
 public:
  ReferenceOps() : ReferenceOps(new FamilyContext{.activation_type = DType::kF32}) {}

 private:
  explicit ReferenceOps(FamilyContext* context) : Ops(std::unique_ptr<FamilyContext>(context), MakeParts(context)) {}

  static Parts MakeParts(FamilyContext* context) {
    auto device = reference::MakeDevice();
    auto weights = reference::MakeWeightPacker(device.get());
    return {.device = std::move(device),
            .scratch = reference::MakeScratch(),
            .weights = std::move(weights),
            .dense = reference::MakeDenseOps(context),
            .norm = reference::MakeNormOps(context),
            .elementwise = reference::MakeElementwiseOps(context),
            .attention = reference::MakeAttentionOps(context),
            .convolution = reference::MakeConvolutionOps(context),
            .latents = reference::MakeLatentOps(context),
            .sampler = reference::MakeSamplerOps(context)};
  }
};

}  // namespace

std::unique_ptr<Ops> MakeReferenceOps() { return std::make_unique<ReferenceOps>(); }

}  // namespace longtake
