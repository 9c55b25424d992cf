// Owners of CUDA's objects. Making one may fail: Create returns a status.
#ifndef LONGTAKE_ENGINE_CUDA_HANDLES_H_
#define LONGTAKE_ENGINE_CUDA_HANDLES_H_

#include <cstddef>
#include <utility>

#include "absl/status/statusor.h"
#include "cuda_platform.h"

namespace longtake::cuda {

// A handle that `kDestroy` gives back. Empty after a move.
template <typename T, cudaError_t (*kDestroy)(T)>
class Handle {
 public:
  Handle() = default;
  explicit Handle(T value) : value_(value) {}
  ~Handle() { Reset(); }
  Handle(Handle&& other) noexcept : value_(std::exchange(other.value_, T{})) {}
  Handle& operator=(Handle&& other) noexcept {
    Reset();
    value_ = std::exchange(other.value_, T{});
    return *this;
  }
  T get() const { return value_; }

 private:
  void Reset() {
    if (value_ != T{}) kDestroy(std::exchange(value_, T{}));
  }
  T value_{};
};

using Stream = Handle<cudaStream_t, cudaStreamDestroy>;
using EventHandle = Handle<cudaEvent_t, cudaEventDestroy>;
using GraphExec = Handle<cudaGraphExec_t, cudaGraphExecDestroy>;
using DeviceMemory = Handle<void*, cudaFree>;
using PinnedMemory = Handle<void*, cudaFreeHost>;

// A stream of its own, not ordered with the default one. Of higher priority where asked.
absl::StatusOr<Stream> MakeStream(bool high_priority);
enum class Wait {
  kSpinning,  // the host's thread takes a core until the event is reached: for waits that are nearly over
  kSleeping,
};
// Without timing.
absl::StatusOr<EventHandle> MakeEvent(Wait wait);
absl::StatusOr<EventHandle> MakeTimingEvent();
// Not zeroed. Of no bytes: one that is empty.
absl::StatusOr<DeviceMemory> AllocateDevice(size_t bytes);
absl::StatusOr<PinnedMemory> AllocatePinned(size_t bytes);

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_HANDLES_H_
