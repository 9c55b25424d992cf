#include "engine/cuda/kernels/shuffle.h"

#include "engine/cuda/families.h"

namespace longtake::cuda {
namespace {

class CudaShuffle final : public ShuffleOps {
 public:
  CudaShuffle(FamilyContext* family, StreamState& state) : ShuffleOps(family), state_(state) {}

 private:
  // One launch for each of the frames that a position becomes, at most two in any model.
  void DoDepthToSpace(const DepthToSpaceArgs& args) override {
    for (int i = 0; i < args.factor.t; ++i) {
      if (args.out[i].data == nullptr) continue;
      RunDepthToSpace(state_.launcher(), Shape(args.factor, args.width, i), args.in, args.residual, args.out[i]);
    }
  }
  void DoSpaceToDepth(const SpaceToDepthArgs& args) override {
    for (int i = 0; i < args.factor.t; ++i) {
      RunSpaceToDepth(state_.launcher(), Shape(args.factor, args.width, i), args.in[i], args.residual[i], i == 0,
                      args.out);
    }
  }

  static ShuffleLaunch Shape(const ShuffleFactor& f, int width, int frame) {
    return {.width = width, .h = f.h, .w = f.w, .volume = f.volume(), .first = frame * f.h * f.w};
  }

  StreamState& state_;
};

}  // namespace

std::unique_ptr<ShuffleOps> MakeShuffle(FamilyContext* family, StreamState& state) {
  return std::make_unique<CudaShuffle>(family, state);
}

}  // namespace longtake::cuda
