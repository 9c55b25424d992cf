#include "engine/cuda/families.h"
#include "engine/cuda/kernels/pointwise.h"
#include "engine/cuda/weights.h"

namespace longtake::cuda {
namespace {

class CudaDense final : public DenseOps {
 public:
  CudaDense(FamilyContext* family, StreamState& state) : DenseOps(family), state_(state) {}

 private:
  void DoLinear(const LinearArgs& args) override {
    state_.products->Run(static_cast<const CudaKernel&>(args.kernel), args.x, args.epilogue, nullptr, args.y);
  }
  void DoLinearGated(const LinearGatedArgs& args) override {
    state_.products->RunGated(static_cast<const CudaKernel&>(args.kernel), args.x, args.activation, args.y);
  }
  void DoEmbed(const EmbedArgs& args) override {
    RunEmbed(state_.launcher(), args.table.data->data(), state_.staging().Put(args.ids), args.scale, args.y);
  }

  StreamState& state_;
};

}  // namespace

std::unique_ptr<DenseOps> MakeDense(FamilyContext* family, StreamState& state) {
  return std::make_unique<CudaDense>(family, state);
}

}  // namespace longtake::cuda
