// Re-orderings of channels-last frames between channels and positions, each with the residual path around it.
#ifndef LONGTAKE_ENGINE_OPS_SHUFFLE_H_
#define LONGTAKE_ENGINE_OPS_SHUFFLE_H_

#include <span>

#include "engine/ops/family.h"

namespace longtake {

// How many frames, rows and columns one position becomes. Of the `volume()` positions, that of frame i, row j and
// column k has the number (i * h + j) * w + k.
struct ShuffleFactor {
  int t = 1, h = 1, w = 1;
  int volume() const { return t * h * w; }
};

// out[i](y * h + j, x * w + k)[c] = in(y, x)[c * volume + number of (i, j, k)], plus the residual: its R * volume
// channels in the same order, as a whole repeated until there are C of them.
struct DepthToSpaceArgs {
  ConstMat in;  // f32 [height * width, C * volume]
  int height = 0, width = 0;
  ShuffleFactor factor;
  ConstMat residual;         // f32 [height * width, R * volume], where R divides C; null data: none
  std::span<const Mat> out;  // factor.t frames, f32 [height * h * width * w, C]; null data: the frame is not written
};

// The inverse: out(y, x)[c * volume + number of (i, j, k)] = in[i](y * h + j, x * w + k)[c], plus the residual: its W
// channels in the same order, as means of W * volume / out.cols successive ones.
struct SpaceToDepthArgs {
  std::span<const ConstMat> in;        // factor.t frames, f32 [height * h * width * w, out.cols / volume]
  std::span<const ConstMat> residual;  // factor.t frames, f32 [height * h * width * w, W]
  int height = 0, width = 0;           // of `out`
  ShuffleFactor factor;
  Mat out;  // f32 [height * width, a multiple of volume that divides W * volume]
};

class ShuffleOps : public OperationFamily {
 public:
  using OperationFamily::OperationFamily;
  virtual ~ShuffleOps() = default;

  void DepthToSpace(const DepthToSpaceArgs& args);
  void SpaceToDepth(const SpaceToDepthArgs& args);

 private:
  virtual void DoDepthToSpace(const DepthToSpaceArgs& args) = 0;
  virtual void DoSpaceToDepth(const SpaceToDepthArgs& args) = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_OPS_SHUFFLE_H_
