// What samplers compute: noise, weighted sums, and the network's view of time.
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

// Which normal numbers: a pure function of these and of an element's index (core/philox.h).
struct NoiseKey {
  uint64_t seed = 0;
  uint32_t block = 0;
  uint32_t step = 0;
};

class SamplerOps : public OperationFamily {
 public:
  // A step of a sampler has three terms, UniPC's corrector five.
  static constexpr int kMaxTerms = 8;

  using OperationFamily::OperationFamily;
  virtual ~SamplerOps() = default;

  // y[r] = sinusoids of t[r]: cosines first, then sines, of frequencies exp(-ln(10000) i / (width / 2)); y act
  // [t, width].
  void TimestepSinusoids(std::span<const float> t, Mat y);
  // out = sum of weight * x over the terms in their order, f32, n elements; `out` may be one of the x.
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
