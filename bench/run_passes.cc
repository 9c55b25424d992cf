#include "bench/run_passes.h"

#include <chrono>
#include <latch>
#include <utility>

#include "common/status_macros.h"

namespace longtake {

absl::StatusOr<TimedBatch> RunPasses(Engine& engine, std::vector<Pass> passes) {
  using Clock = std::chrono::steady_clock;
  TimedBatch batch;
  batch.results.resize(passes.size());
  std::latch left(static_cast<std::ptrdiff_t>(passes.size()));
  const Lane lane = passes.empty() ? Lane::kTransformer : LaneOf(passes.front().kind);
  const auto begin = Clock::now();
  engine.Submit(lane, std::move(passes), [&](size_t i, PassResult result) {
    batch.results[i] = std::move(result);
    left.count_down();
  });
  left.wait();
  batch.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  for (const PassResult& result : batch.results) RETURN_IF_ERROR(result.status);
  return batch;
}

}  // namespace longtake
