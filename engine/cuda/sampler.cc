#include "engine/cuda/families.h"
#include "engine/cuda/kernels/pointwise.h"

namespace longtake::cuda {
namespace {

class CudaSampler final : public SamplerOps {
 public:
  CudaSampler(FamilyContext* family, StreamState& state) : SamplerOps(family), state_(state) {}

 private:
  void DoTimestepSinusoids(std::span<const float> t, Mat y) override {
    RunTimestepSinusoids(state_.launcher(), state_.staging().Put(t), y);
  }
  void DoCombine(std::span<const CombineTerm> terms, int64_t n, float* out) override {
    static_assert(CombineTerms::kMost >= kMaxTerms);
    CombineTerms all;
    for (const CombineTerm& t : terms) {
      all.weight[all.count] = t.weight;
      all.x[all.count++] = t.x;
    }
    RunCombine(state_.launcher(), all, n, out);
  }
  void DoFillNormal(const NoiseKey& key, int64_t n, float* out) override {
    RunFillNormal(state_.launcher(), key.seed, key.block, key.step, n, out);
  }

  StreamState& state_;
};

}  // namespace

std::unique_ptr<SamplerOps> MakeSampler(FamilyContext* family, StreamState& state) {
  return std::make_unique<CudaSampler>(family, state);
}

}  // namespace longtake::cuda
