// A device, one stream of it, and that stream's staging and scratch.
#ifndef LONGTAKE_ENGINE_CUDA_CONTEXT_H_
#define LONGTAKE_ENGINE_CUDA_CONTEXT_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/cuda/graphs.h"
#include "engine/cuda/handles.h"
#include "engine/cuda/launcher.h"
#include "engine/cuda/scratch.h"
#include "engine/cuda/staging.h"
#include "engine/ops/device.h"

namespace longtake::cuda {

struct DeviceInfo {
  int index = 0;
  std::string name;            // as the driver spells it
  int compute_capability = 0;  // 90, 100, 120; 0 in the tests' emulation
  int multiprocessors = 1;
  size_t memory_bytes = 0;  // what a plan may take (Context::MeasureMemory)
};

class Context {
 public:
  // NotFound / Unavailable where there is no such device, Unimplemented where this build has no kernels for it.
  // `urgent`: where the device must choose, the stream's blocks go before those of others. `graphs`: whether passes may
  // become graphs.
  static absl::StatusOr<std::unique_ptr<Context>> Create(int device, bool urgent = false, bool graphs = false);

  const DeviceInfo& device() const { return device_; }
  Launcher& launcher() { return *launcher_; }
  cudaStream_t stream() const { return stream_.get(); }
  Staging& staging() { return *staging_; }

  ScratchRegion& scratch() { return *scratch_; }
  PassGraphs* graphs() { return graphs_.get(); }  // null: passes are launched as they are
  // Rows, segments or shares, padded where passes may become graphs.
  int64_t Padded(int64_t n) const { return graphs_ == nullptr ? n : PaddedCount(n); }
  // Of the scratch, as ScratchRegion::Take.
  void* Take(ScratchPiece kind, size_t bytes) { return scratch_->Take(kind, bytes); }
  template <typename T>
  T* Take(ScratchPiece kind, size_t count) {
    return static_cast<T*>(Take(kind, count * sizeof(T)));
  }

  // Sets device().memory_bytes: what is free now, with the driver's context and cuBLASLt in place, and the `held_bytes`
  // that the caller holds already, less a reserve for code that is loaded later.
  absl::Status MeasureMemory(size_t held_bytes);

  // Binds the calling thread to the device: before anything else, once for each thread that calls.
  absl::Status Bind() const;
  // Blocks until the stream is done and returns the first failure of anything launched.
  absl::Status Synchronize();

  // Events as longtake::Device has them. Synchronize may be called from any thread.
  Event Record();
  absl::Status Synchronize(Event event);
  void WaitFor(const Context& other, Event event);

 private:
  // A handle is recorded again after so many events. Waiting for the old event then waits for the new one, which is
  // behind it.
  static constexpr int kEvents = 64;
  cudaEvent_t HandleOf(Event event) const { return events_[event % kEvents].get(); }

  Context() = default;

  DeviceInfo device_;
  Stream stream_;
  std::unique_ptr<Launcher> launcher_;
  std::unique_ptr<Staging> staging_;
  std::unique_ptr<ScratchRegion> scratch_;
  std::unique_ptr<PassGraphs> graphs_;
  std::array<EventHandle, kEvents> events_;
  uint64_t recorded_ = 0;
};

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_CONTEXT_H_
