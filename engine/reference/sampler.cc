#include <cmath>
#include <cstdint>
#include <memory>
#include <span>

#include "engine/core/philox.h"
#include "engine/reference/families.h"
#include "engine/reference/kernel.h"

namespace longtake::reference {
namespace {

class Sampler final : public SamplerOps {
 public:
  using SamplerOps::SamplerOps;

 private:
  void DoTimestepSinusoids(std::span<const float> t, Mat y) override {
    const int64_t half = y.cols / 2;
    for (int64_t r = 0; r < y.rows; ++r) {
      for (int64_t i = 0; i < half; ++i) {
        // Frequency and angle are rounded to float32 as in diffusers. At t = 1000 the rounding of the angle (6e-5)
        // would otherwise dominate a comparison with it.
        const float exponent = -std::log(10000.f) * static_cast<float>(i) / static_cast<float>(half);
        const float frequency = std::exp(exponent);
        const float angle = t[r] * frequency;
        Row(y, r)[i] = static_cast<float>(std::cos(double{angle}));
        Row(y, r)[half + i] = static_cast<float>(std::sin(double{angle}));
      }
    }
  }

  void DoCombine(std::span<const CombineTerm> terms, int64_t n, float* out) override {
    for (int64_t i = 0; i < n; ++i) {
      double sum = 0;
      for (const CombineTerm& t : terms) sum += double{t.weight} * t.x[i];
      out[i] = static_cast<float>(sum);
    }
  }

  void DoFillNormal(const NoiseKey& key, int64_t n, float* out) override {
    for (int64_t quad = 0; quad * 4 < n; ++quad) {
      const auto values = NormalQuad(key.seed, key.block, key.step, quad);
      for (int64_t i = quad * 4; i < n && i < quad * 4 + 4; ++i) out[i] = values[i - quad * 4];
    }
  }
};

}  // namespace

std::unique_ptr<SamplerOps> MakeSamplerOps(FamilyContext* context) { return std::make_unique<Sampler>(context); }

}  // namespace longtake::reference
