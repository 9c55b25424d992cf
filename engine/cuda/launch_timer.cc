#include "engine/cuda/launch_timer.h"

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace longtake::cuda {

absl::StatusOr<std::unique_ptr<CudaLaunchTimer>> CudaLaunchTimer::Create(Profiler& profiler) {
  std::unique_ptr<CudaLaunchTimer> timer(new CudaLaunchTimer(profiler));
  ASSIGN_OR_RETURN(timer->begin_, MakeTimingEvent());
  ASSIGN_OR_RETURN(timer->end_, MakeTimingEvent());
  return timer;
}

cudaError_t CudaLaunchTimer::Time(cudaStream_t stream, const char* name, const std::function<cudaError_t()>& launch) {
  cudaError_t error = cudaEventRecord(begin_.get(), stream);
  if (error == cudaSuccess) error = launch();
  if (error == cudaSuccess) error = cudaEventRecord(end_.get(), stream);
  if (error == cudaSuccess) error = cudaEventSynchronize(end_.get());
  float milliseconds = 0;
  if (error == cudaSuccess) error = cudaEventElapsedTime(&milliseconds, begin_.get(), end_.get());
  if (error != cudaSuccess) return error;
  const auto zone = zones_.try_emplace(name, absl::StrCat("launch: ", name)).first;
  profiler_.Add(zone->second, milliseconds * 1e-3);
  return cudaSuccess;
}

}  // namespace longtake::cuda
