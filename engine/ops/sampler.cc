#include "engine/ops/sampler.h"

#include "engine/ops/check.h"

namespace longtake {

void SamplerOps::TimestepSinusoids(std::span<const float> t, Mat y) {
  constexpr const char* kName = "TimestepSinusoids";
  Require(IsActOrFloat(y.dtype) && y.cols % 2 == 0, kName, "y is act or f32 [t, an even width]");
  Require(y.rows == static_cast<int64_t>(t.size()), kName, "y has a row for each t");
  const ProfilerScope scope(profiler(), kName);
  DoTimestepSinusoids(t, y);
}

void SamplerOps::Combine(std::span<const CombineTerm> terms, int64_t n, float* out) {
  constexpr const char* kName = "Combine";
  Require(!terms.empty() && terms.size() <= kMaxTerms, kName, "there are 1 to 8 terms");
  Require(n >= 0, kName, "n is not negative");
  const ProfilerScope scope(profiler(), kName);
  DoCombine(terms, n, out);
}

void SamplerOps::FillNormal(const NoiseKey& key, int64_t n, float* out) {
  constexpr const char* kName = "FillNormal";
  Require(n >= 0, kName, "n is not negative");
  const ProfilerScope scope(profiler(), kName);
  DoFillNormal(key, n, out);
}

}  // namespace longtake
