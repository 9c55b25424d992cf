// Operations of samplers: noise, weighted sums, and the sinusoidal embedding of timesteps.
#ifndef LONGTAKE_ENGINE_OPS_SAMPLER_H_
#define LONGTAKE_ENGINE_OPS_SAMPLER_H_

#include <cstdint>
#include <span>

#include "engine/ops/family.h"

namespace longtake {

struct CombineTerm {
  float weight;
  const float* x;
};

// Selects a sequence of normal numbers. Each number is a pure function of this key and the element's index
// (core/philox.h).
struct NoiseKey {
  uint64_t seed = 0;
  uint32_t block = 0;
  uint32_t step = 0;
};

class SamplerOps : public OperationFamily {
 public:
  // A sampler's step has three terms; UniPC's corrector has five.
  static constexpr int kMaxTerms = 8;

  using OperationFamily::OperationFamily;
  virtual ~SamplerOps() = default;

  // y[r] = sinusoids of t[r]: first the cosines, then the sines, with frequencies exp(-ln(10000) i / (width / 2)). y is
  // act or f32 [t, width].
  void TimestepSinusoids(std::span<const float> t, Mat y);
  // out = sum of weight * x, with terms added in order; f32, n elements. `out` may be one of the x.
  void Combine(std::span<const CombineTerm> terms, int64_t n, float* out);
  // out = n standard normal numbers.
  void FillNormal(const NoiseKey& key, int64_t n, float* out);

 private:
  virtual void DoTimestepSinusoids(std::span<const float> t, Mat y) = 0;
  virtual void DoCombine(std::span<const CombineTerm> terms, int64_t n, float* out) = 0;
  virtual void DoFillNormal(const NoiseKey& key, int64_t n, float* out) = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_OPS_SAMPLER_H_
