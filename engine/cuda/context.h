// What the operations of one backend share: a device, a stream, staging, scratch. Owned by CudaOps and passed in.
#ifndef LONGTAKE_ENGINE_CUDA_CONTEXT_H_
#define LONGTAKE_ENGINE_CUDA_CONTEXT_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/cuda/handles.h"
#include "engine/cuda/launcher.h"
#include "engine/cuda/staging.h"

namespace longtake::cuda {

struct DeviceInfo {
  int index = 0;
  std::string name;            // as the driver spells it
  int compute_capability = 0;  // 90, 100, 120; 0 in the tests' emulation
  int multiprocessors = 1;
  size_t memory_bytes = 0;
};

// Scratch of operations, by what it is for: a piece stays while pieces of other kinds are asked for.
enum class Scratch {
  kProduct,    // a matrix product's float32 sums before their epilogue
  kOperand,    // its inputs gathered, padded or quantised
  kScales,     // of quantised inputs
  kAttention,  // partial sums
  kAttention2,
  kFrames,  // neighbouring frames side by side
  kCount,
};

class Context {
 public:
  // NotFound / Unavailable where there is no such device.
  static absl::StatusOr<std::unique_ptr<Context>> Create(int device);

  const DeviceInfo& device() const { return device_; }
  Launcher& launcher() { return *launcher_; }
  cudaStream_t stream() const { return stream_.get(); }
  Staging& staging() { return *staging_; }

  // At least `bytes`, aligned to 256, contents undefined; for work on the stream. It grows to the largest request and
  // stays: after the first pass of each shape nothing is allocated. The next request of the same kind takes it back, in
  // the stream's order. Null once something has failed.
  void* Take(Scratch kind, size_t bytes);
  template <typename T>
  T* Take(Scratch kind, size_t count) {
    return static_cast<T*>(Take(kind, count * sizeof(T)));
  }
  size_t scratch_bytes() const;

  // Binds the calling thread to the device: before anything else, once for each thread that calls.
  absl::Status Bind() const;
  // Waits for the stream. The first failure of anything launched.
  absl::Status Finish();

 private:
  Context() = default;

  DeviceInfo device_;
  Stream stream_;
  std::unique_ptr<Launcher> launcher_;
  std::unique_ptr<Staging> staging_;
  struct Piece {
    DeviceMemory memory;
    size_t bytes = 0;
  };
  std::array<Piece, static_cast<size_t>(Scratch::kCount)> scratch_;
};

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_CONTEXT_H_
