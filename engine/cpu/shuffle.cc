#include "engine/ops/shuffle.h"

#include <algorithm>

#include "engine/cpu/families.h"
#include "engine/cpu/views.h"

namespace longtake::cpu {
namespace {

class CpuShuffleOps final : public ShuffleOps {
 public:
  explicit CpuShuffleOps(Context& context) : ShuffleOps(&context), context_(context) {}

 private:
  void DoDepthToSpace(const DepthToSpaceArgs& args) override;
  void DoSpaceToDepth(const SpaceToDepthArgs& args) override;

  Context& context_;
};

// A row of the coarse frame (up to 16 KiB) stays in the L1 cache while all of its positions are written, so that the
// strided side of the re-ordering costs no memory traffic.
void CpuShuffleOps::DoDepthToSpace(const DepthToSpaceArgs& args) {
  const ShuffleFactor f = args.factor;
  const int64_t volume = f.volume(), channels = args.in.cols / volume, repeated = args.residual.cols / volume;
  const int64_t fine_width = int64_t{args.width} * f.w;
  context_.ForRows(args.in.rows, args.in.cols, [&](int64_t first, int64_t n, int) {
    for (int64_t r = first; r < first + n; ++r) {
      const int64_t y = r / args.width, x = r % args.width;
      int64_t number = 0;
      for (int i = 0; i < f.t; ++i) {
        for (int j = 0; j < f.h; ++j) {
          for (int k = 0; k < f.w; ++k, ++number) {
            if (args.out[i].data == nullptr) continue;
            const float* in = Floats(args.in, r) + number;
            float* out = Floats(args.out[i], (y * f.h + j) * fine_width + x * f.w + k);
            if (args.residual.data == nullptr) {
              for (int64_t c = 0; c < channels; ++c) out[c] = in[c * volume];
              continue;
            }
            const float* residual = Floats(args.residual, r) + number;
            for (int64_t base = 0; base < channels; base += repeated) {
              for (int64_t c = 0; c < repeated; ++c) out[base + c] = in[(base + c) * volume] + residual[c * volume];
            }
          }
        }
      }
    }
  });
}

void CpuShuffleOps::DoSpaceToDepth(const SpaceToDepthArgs& args) {
  const ShuffleFactor f = args.factor;
  const int64_t volume = f.volume(), channels = args.in[0].cols, width = args.residual[0].cols;
  const int64_t group = width * volume / args.out.cols, fine_width = int64_t{args.width} * f.w;
  const float weight = 1.f / static_cast<float>(group);
  context_.ForRows(args.out.rows, args.out.cols, [&](int64_t first, int64_t n, int) {
    for (int64_t r = first; r < first + n; ++r) {
      const int64_t y = r / args.width, x = r % args.width;
      float* out = Floats(args.out, r);
      std::fill(out, out + args.out.cols, 0.f);
      int64_t number = 0;
      for (int i = 0; i < f.t; ++i) {
        for (int j = 0; j < f.h; ++j) {
          for (int k = 0; k < f.w; ++k, ++number) {
            const int64_t fine = (y * f.h + j) * fine_width + x * f.w + k;
            const float* in = Floats(args.in[i], fine);
            for (int64_t c = 0; c < channels; ++c) out[c * volume + number] += in[c];
            const float* residual = Floats(args.residual[i], fine);
            for (int64_t c = 0; c < width; ++c) out[(c * volume + number) / group] += residual[c] * weight;
          }
        }
      }
    }
  });
}

}  // namespace

std::unique_ptr<ShuffleOps> MakeShuffleOps(Context& context) { return std::make_unique<CpuShuffleOps>(context); }

}  // namespace longtake::cpu
