// What code that launches kernels is given: a stream, and where failures go. No Abseil, so that nvcc reads little.
#ifndef LONGTAKE_ENGINE_CUDA_LAUNCHER_H_
#define LONGTAKE_ENGINE_CUDA_LAUNCHER_H_

#include <atomic>
#include <cstddef>
#include <functional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include "common/mutex.h"
#include "cuda_platform.h"
#include "engine/cuda/launch_list.h"

namespace longtake::cuda {

struct LaunchShape {
  dim3 grid, block;
  size_t shared_bytes = 0;
};

// Times launches, for benchmarks.
class LaunchTimer {
 public:
  virtual ~LaunchTimer() = default;
  virtual bool enabled() const = 0;
  // Calls `launch` and waits until what it launched is done.
  virtual cudaError_t Time(cudaStream_t stream, const char* name, const std::function<cudaError_t()>& launch) = 0;
};

// Launches on one stream. The first failure sticks and nothing is launched after it: work runs later than the call that
// asked for it, so operations have no result of their own, and whoever waits for the stream asks here.
class Launcher {
 public:
  enum class Mode {
    kLaunch,
    kPlan,  // nothing is launched, and pointers may point anywhere: what operations would need is being counted, and
            // the code of their kernels is loaded, so that no first pass waits for it
    kList,  // launches go to a list (graphs.h)
  };

  Launcher(cudaStream_t stream, int device, int multiprocessors)
      : stream_(stream), device_(device), multiprocessors_(multiprocessors) {}

  cudaStream_t stream() const { return stream_; }
  int multiprocessors() const { return multiprocessors_; }
  bool ok() const { return error_ == cudaSuccess; }
  // The first failure, and where it was; cudaSuccess. From any thread.
  struct Failure {
    cudaError_t error = cudaSuccess;
    std::string where;
  };
  Failure failure() const {
    const MutexLock lock(mutex_);
    return {error_, where_};
  }

  // `what` names the kernel or call, for messages. True where all is well. From any thread: some only wait.
  bool Check(cudaError_t error, const char* what) {
    if (error == cudaSuccess) return ok();
    const MutexLock lock(mutex_);
    if (ok()) {
      where_ = what;
      error_ = error;
    }
    return false;
  }

  // A thread works on one device at a time, the first unless it says so; launches and allocations must say so.
  bool Bind() { return ok() && Check(cudaSetDevice(device_), "device"); }

  // `timer` outlives the launcher; null: none.
  void TimeLaunches(LaunchTimer* timer) { timer_ = timer; }

  Mode mode() const { return mode_; }
  void LaunchFromNowOn() { mode_ = Mode::kLaunch; }
  void PlanFromNowOn() { mode_ = Mode::kPlan; }
  void ListFromNowOn(LaunchList* list) {
    mode_ = Mode::kList;
    list_ = list;
  }

  // An empty grid is no launch.
  template <typename... P, typename... A>
  void Launch(const char* name, const LaunchShape& shape, void (*kernel)(P...), A&&... arguments) {
    if (shape.grid.x == 0 || shape.grid.y == 0 || shape.grid.z == 0) return;
    if (mode_ == Mode::kPlan) {
      if (Bind()) Check(LoadKernel(kernel), name);
      return;
    }
    const std::tuple<std::decay_t<P>...> values(static_cast<std::decay_t<P>>(arguments)...);
    const auto launch = [kernel, shape, values](cudaStream_t stream) {
      return std::apply(
          [&](const auto&... v) {
            return LaunchKernel(kernel, shape.grid, shape.block, shape.shared_bytes, stream, v...);
          },
          values);
    };
    std::apply([&](const auto&... v) { Do(name, launch, kernel, shape.grid, shape.block, shape.shared_bytes, v...); },
               values);
  }

  // Work of any kind on the stream that `work` is given; `values` are all that it depends on (LaunchList::Add).
  template <typename F, typename... V>
  void Do(const char* name, const F& work, const V&... values) {
    if (mode_ == Mode::kPlan || !Bind()) return;
    if (mode_ == Mode::kLaunch) {
      const bool timed = timer_ != nullptr && timer_->enabled();
      Check(timed ? timer_->Time(stream_, name, [&] { return work(stream_); }) : work(stream_), name);
    } else {
      list_->Add(name, work, values...);
    }
  }

 private:
  cudaStream_t stream_;
  int device_;
  int multiprocessors_;
  Mode mode_ = Mode::kLaunch;
  LaunchList* list_ = nullptr;
  LaunchTimer* timer_ = nullptr;
  mutable Mutex mutex_;
  std::atomic<cudaError_t> error_ = cudaSuccess;
  std::string where_;
};

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_LAUNCHER_H_
