// Device time of each launch, by name: for benchmarks.
#ifndef LONGTAKE_ENGINE_CUDA_LAUNCH_TIMER_H_
#define LONGTAKE_ENGINE_CUDA_LAUNCH_TIMER_H_

#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/cuda/handles.h"
#include "engine/cuda/launcher.h"
#include "engine/ops/profiler.h"

namespace longtake::cuda {

// While the profiler is enabled, each launch is awaited and its time added as a zone "launch: NAME". The sum of a
// pass's launches is then the device's time without gaps; the pass itself takes longer.
class CudaLaunchTimer final : public LaunchTimer {
 public:
  // `profiler` outlives the result.
  static absl::StatusOr<std::unique_ptr<CudaLaunchTimer>> Create(Profiler& profiler);

  bool enabled() const override { return profiler_.enabled(); }
  cudaError_t Time(cudaStream_t stream, const char* name, const std::function<cudaError_t()>& launch) override;

 private:
  explicit CudaLaunchTimer(Profiler& profiler) : profiler_(profiler) {}

  Profiler& profiler_;
  EventHandle begin_, end_;
  std::map<std::string, std::string> zones_;  // by the launch's name; the profiler keeps views of them
};

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_LAUNCH_TIMER_H_
