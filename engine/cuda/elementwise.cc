#include "engine/cuda/families.h"
#include "engine/cuda/kernels/pointwise.h"

namespace longtake::cuda {
namespace {

class CudaElementwise final : public ElementwiseOps {
 public:
  CudaElementwise(FamilyContext* family, StreamState& state) : ElementwiseOps(family), state_(state) {}

 private:
  void DoConvert(ConstMat x, Mat y) override { RunActivate(state_.launcher(), x, Activation::kNone, y); }
  void DoActivate(ConstMat x, Activation activation, Mat y) override {
    RunActivate(state_.launcher(), x, activation, y);
  }
  void DoAddRow(ConstMat x, const float* row, Mat y) override { RunAddRow(state_.launcher(), x, row, y); }

  StreamState& state_;
};

}  // namespace

std::unique_ptr<ElementwiseOps> MakeElementwise(FamilyContext* family, StreamState& state) {
  return std::make_unique<CudaElementwise>(family, state);
}

}  // namespace longtake::cuda
