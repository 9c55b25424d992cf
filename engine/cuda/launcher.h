// What code that launches kernels is given: a stream, and where failures go. No Abseil, so that nvcc reads little.
#ifndef LONGTAKE_ENGINE_CUDA_LAUNCHER_H_
#define LONGTAKE_ENGINE_CUDA_LAUNCHER_H_

#include <atomic>
#include <cstddef>
#include <mutex>
#include <string>
#include <utility>

#include "cuda_platform.h"

namespace longtake::cuda {

struct LaunchShape {
  dim3 grid, block;
  size_t shared_bytes = 0;
};

// Launches on one stream. The first failure sticks and nothing is launched after it: work runs later than the call that
// asked for it, so operations have no result of their own, and whoever waits for the stream asks here.
class Launcher {
 public:
  Launcher(cudaStream_t stream, int device) : stream_(stream), device_(device) {}

  cudaStream_t stream() const { return stream_; }
  bool ok() const { return error_ == cudaSuccess; }
  // The first failure, and where it was; cudaSuccess. From any thread.
  struct Failure {
    cudaError_t error = cudaSuccess;
    std::string where;
  };
  Failure failure() const {
    const std::lock_guard lock(mutex_);
    return {error_, where_};
  }

  // `what` names the kernel or call, for messages. True where all is well. From any thread: some only wait.
  bool Check(cudaError_t error, const char* what) {
    if (error == cudaSuccess) return ok();
    const std::lock_guard lock(mutex_);
    if (ok()) {
      where_ = what;
      error_ = error;
    }
    return false;
  }

  // A thread works on one device at a time, the first unless it says so; launches and allocations must say so.
  bool Bind() { return ok() && Check(cudaSetDevice(device_), "device"); }

  // An empty grid is no launch.
  template <typename... P, typename... A>
  void Launch(const char* name, const LaunchShape& shape, void (*kernel)(P...), A&&... arguments) {
    if (shape.grid.x == 0 || shape.grid.y == 0 || shape.grid.z == 0 || !Bind()) return;
    Check(LaunchKernel(kernel, shape.grid, shape.block, shape.shared_bytes, stream_, std::forward<A>(arguments)...),
          name);
  }

 private:
  cudaStream_t stream_;
  int device_;
  mutable std::mutex mutex_;
  std::atomic<cudaError_t> error_ = cudaSuccess;
  std::string where_;
};

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_LAUNCHER_H_
