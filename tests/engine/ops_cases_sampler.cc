// What samplers compute.
#include "tests/engine/ops_cases.h"

namespace longtake {
namespace {

GroupResults RunSinusoids(Ops& ops, const Groups& groups) {
  Bench bench(ops);
  std::vector<float> t;
  for (int g : groups) t.push_back(static_cast<float>(g * 499.7));
  const Mat y = bench.EmptyAct(static_cast<int64_t>(t.size()), 256);
  ops.sampler().TimestepSinusoids(t, y);
  return Cut(groups, bench.Read(y), [](int) { return 256; });
}

GroupResults RunCombine(Ops& ops, const Groups& groups) {
  Bench bench(ops);
  GroupResults results;
  for (int g : groups) {
    const int64_t n = 50000 + g;
    float* out = bench.Floats(Random(n, 1, g));
    const CombineTerm terms[] = {
        {0.75f, out}, {-1.25f, bench.Floats(Random(n, 2, g))}, {3.f, bench.Floats(Random(n, 3, g))}};
    ops.sampler().Combine({terms, static_cast<size_t>(g) + 1}, n, out);
    results[g] = bench.ReadFloats(out, n);
  }
  return results;
}

GroupResults RunNormal(Ops& ops, const Groups& groups) {
  Bench bench(ops);
  GroupResults results;
  for (int g : groups) {
    const int64_t n = 9001 + g;
    float* out = bench.Floats(std::vector<float>(n));
    ops.sampler().FillNormal({.seed = uint64_t{77} + g, .block = static_cast<uint32_t>(g), .step = 3}, n, out);
    results[g] = bench.ReadFloats(out, n);
  }
  return results;
}

}  // namespace

std::vector<OpsCase> SamplerCases() {
  return {{"timestep_sinusoids", 3, RunSinusoids}, {"combine", 3, RunCombine}, {"fill_normal", 3, RunNormal}};
}

}  // namespace longtake
