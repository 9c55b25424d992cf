#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/core/philox.h"
#include "engine/cpu/families.h"
#include "engine/cpu/views.h"

namespace longtake::cpu {
namespace {

class CpuSamplerOps final : public SamplerOps {
 public:
  explicit CpuSamplerOps(Context& context) : SamplerOps(&context), context_(context) {}

 private:
  void DoTimestepSinusoids(std::span<const float> t, Mat y) override {
    // Not parallel: there are only a few hundred values in a pass. Frequency and angle are rounded to float32, as the
    // reference does.
    const int64_t half = y.cols / 2;
    context_.ParallelFor(1, [&](int64_t, int) {
      for (int64_t i = 0; i < half; ++i) {
        const float exponent = -std::log(10000.f) * static_cast<float>(i) / static_cast<float>(half);
        const float frequency = std::exp(exponent);
        for (int64_t r = 0; r < y.rows; ++r) {
          const float angle = t[r] * frequency;
          WriteElement(y, r, i, static_cast<float>(std::cos(double{angle})));
          WriteElement(y, r, half + i, static_cast<float>(std::sin(double{angle})));
        }
      }
    });
  }

  void DoCombine(std::span<const CombineTerm> terms, int64_t n, float* out) override {
    constexpr int64_t kChunk = 1 << 14;
    context_.ParallelFor((n + kChunk - 1) / kChunk, [&](int64_t task, int) {
      const int64_t first = task * kChunk;
      float weights[kMaxTerms];
      const float* x[kMaxTerms];
      for (size_t i = 0; i < terms.size(); ++i) {
        weights[i] = terms[i].weight;
        x[i] = terms[i].x + first;
      }
      context_.kernels.combine(weights, x, static_cast<int>(terms.size()), std::min(kChunk, n - first), out + first);
    });
  }

  void DoFillNormal(const NoiseKey& key, int64_t n, float* out) override {
    constexpr int64_t kQuads = 1024;
    context_.ParallelFor((n + 4 * kQuads - 1) / (4 * kQuads), [&](int64_t task, int) {
      for (int64_t quad = task * kQuads; quad < (task + 1) * kQuads && quad * 4 < n; ++quad) {
        const auto values = NormalQuad(key.seed, key.block, key.step, quad);
        std::memcpy(out + quad * 4, values.data(), std::min<int64_t>(4, n - quad * 4) * sizeof(float));
      }
    });
  }

  Context& context_;
};

}  // namespace

std::unique_ptr<SamplerOps> MakeSamplerOps(Context& context) { return std::make_unique<CpuSamplerOps>(context); }

}  // namespace longtake::cpu
