// One batch through the engine, waited for: what all benchmarks of passes time.
#ifndef LONGTAKE_BENCH_RUN_PASSES_H_
#define LONGTAKE_BENCH_RUN_PASSES_H_

#include <vector>

#include "absl/status/statusor.h"
#include "engine/engine.h"

namespace longtake {

struct TimedBatch {
  double seconds = 0;               // wall time from Submit to the last completion
  std::vector<PassResult> results;  // of each pass, all OK
};

// `passes` of one lane. The first pass's error in their order, where one failed.
absl::StatusOr<TimedBatch> RunPasses(Engine& engine, std::vector<Pass> passes);

}  // namespace longtake

#endif  // LONGTAKE_BENCH_RUN_PASSES_H_
