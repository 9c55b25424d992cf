#include "engine/cuda/families.h"
#include "engine/cuda/kernels/norms.h"

namespace longtake::cuda {
namespace {

class CudaNorm final : public NormOps {
 public:
  CudaNorm(FamilyContext* family, StreamState& state) : NormOps(family), state_(state) {}

 private:
  void DoLayerNorm(const LayerNormArgs& args) override {
    Modulation modulation;
    if (args.scale != nullptr) {
      modulation = {args.shift, args.scale, args.mod_stride, state_.staging().PutKept(args.mod_row)};
    }
    RunLayerNorm(state_.launcher(), args.x, args.eps, modulation, args.y);
  }
  void DoRmsNorm(const RmsNormArgs& args) override {
    RunRmsNorm(state_.launcher(), args.x, args.weight, args.weight_offset, args.eps, args.residual, args.y);
  }
  void DoChannelNorm(const ChannelNormArgs& args) override {
    RunChannelNorm(state_.launcher(), args.x, args.gamma, args.eps, args.silu, args.y);
  }

  StreamState& state_;
};

}  // namespace

std::unique_ptr<NormOps> MakeNorm(FamilyContext* family, StreamState& state) {
  return std::make_unique<CudaNorm>(family, state);
}

}  // namespace longtake::cuda
