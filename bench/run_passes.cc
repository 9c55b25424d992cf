#include "bench/run_passes.h"

#include <chrono>
#include <utility>

#include "absl/synchronization/blocking_counter.h"
#include "common/status_macros.h"

namespace longtake {

absl::StatusOr<TimedBatch> RunPasses(Engine& engine, std::vector<Pass> passes) {
  using Clock = std::chrono::steady_clock;
  TimedBatch batch;
  batch.results.resize(passes.size());
  absl::BlockingCounter left(static_cast<int>(passes.size()));
  const auto begin = Clock::now();
  engine.Submit(std::move(passes), [&](size_t i, PassResult result) {
    batch.results[i] = std::move(result);
    left.DecrementCount();
  });
  left.Wait();
  batch.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  for (const PassResult& result : batch.results) RETURN_IF_ERROR(result.status);
  return batch;
}

}  // namespace longtake
