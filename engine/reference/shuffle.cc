#include "engine/ops/shuffle.h"

#include <cstdint>
#include <memory>

#include "engine/reference/families.h"
#include "engine/reference/kernel.h"

namespace longtake::reference {
namespace {

// Calls f(frame, row in the fine frame, number of the position, row in the coarse frame) for every position.
template <typename F>
void ForPositions(int height, int width, const ShuffleFactor& factor, F&& f) {
  for (int i = 0; i < factor.t; ++i) {
    for (int y = 0; y < height * factor.h; ++y) {
      for (int x = 0; x < width * factor.w; ++x) {
        f(i, int64_t{y} * width * factor.w + x, (i * factor.h + y % factor.h) * factor.w + x % factor.w,
          int64_t{y / factor.h} * width + x / factor.w);
      }
    }
  }
}

class Shuffle final : public ShuffleOps {
 public:
  using ShuffleOps::ShuffleOps;

 private:
  void DoDepthToSpace(const DepthToSpaceArgs& a) override {
    const int64_t volume = a.factor.volume(), repeated = a.residual.cols / volume;
    ForPositions(a.height, a.width, a.factor, [&](int i, int64_t fine, int64_t number, int64_t coarse) {
      if (a.out[i].data == nullptr) return;
      for (int64_t c = 0; c < a.out[i].cols; ++c) {
        double value = Row(a.in, coarse)[c * volume + number];
        if (a.residual.data != nullptr) value += Row(a.residual, coarse)[c % repeated * volume + number];
        Row(a.out[i], fine)[c] = static_cast<float>(value);
      }
    });
  }

  void DoSpaceToDepth(const SpaceToDepthArgs& a) override {
    const int64_t volume = a.factor.volume(), group = a.residual[0].cols * volume / a.out.cols;
    for (int64_t r = 0; r < a.out.rows; ++r) {
      for (int64_t c = 0; c < a.out.cols; ++c) Row(a.out, r)[c] = 0;
    }
    // A mean over a group may span several positions, so its terms are added one by one.
    ForPositions(a.height, a.width, a.factor, [&](int i, int64_t fine, int64_t number, int64_t coarse) {
      float* out = Row(a.out, coarse);
      for (int64_t c = 0; c < a.in[i].cols; ++c) out[c * volume + number] += Row(a.in[i], fine)[c];
      for (int64_t c = 0; c < a.residual[i].cols; ++c) {
        out[(c * volume + number) / group] += Row(a.residual[i], fine)[c] / static_cast<float>(group);
      }
    });
  }
};

}  // namespace

std::unique_ptr<ShuffleOps> MakeShuffleOps(FamilyContext* context) { return std::make_unique<Shuffle>(context); }

}  // namespace longtake::reference
