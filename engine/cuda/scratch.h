// Device memory for what operations need between their kernels: one region, planned before it is taken.
#ifndef LONGTAKE_ENGINE_CUDA_SCRATCH_H_
#define LONGTAKE_ENGINE_CUDA_SCRATCH_H_

#include <array>
#include <atomic>
#include <cstddef>

#include "engine/cuda/handles.h"
#include "engine/cuda/launcher.h"

namespace longtake::cuda {

// Pieces by what they are for: one stays while others are asked for.
enum class ScratchPiece {
  kProduct,    // a matrix product's float32 sums before their epilogue
  kOperand,    // its inputs gathered, padded or quantised
  kScales,     // of quantised inputs
  kAttention,  // partial sums
  kAttention2,
  kFrames,  // neighbouring frames side by side
  kCount,
};

// While the launcher plans, a request only counts. Reserve takes the largest of each kind; what asks for more from then
// on is a failure. Without a plan (single operations: the module runner, tests) each piece grows to the largest
// request.
class ScratchRegion {
 public:
  explicit ScratchRegion(Launcher& launcher) : launcher_(launcher) {}

  // At least `bytes`, aligned to 256, contents undefined; for work on the launcher's stream. The next request of the
  // same kind takes it back, in the stream's order. Null once something has failed.
  void* Take(ScratchPiece kind, size_t bytes);
  // ResourceExhausted where the device has not so much.
  absl::Status Reserve();
  // Whether pieces stay where they are from then on.
  bool reserved() const { return reserved_; }

  // Of the whole region; and the most that was in use of each kind, together. From any thread.
  size_t planned_bytes() const { return Sum(planned_); }
  size_t used_bytes() const { return Sum(used_); }

 private:
  static constexpr size_t kKinds = static_cast<size_t>(ScratchPiece::kCount);
  using Sizes = std::array<std::atomic<size_t>, kKinds>;
  static size_t Sum(const Sizes& sizes) {
    size_t sum = 0;
    for (const auto& size : sizes) sum += size;
    return sum;
  }

  Launcher& launcher_;
  Sizes planned_ = {}, used_ = {};  // of each kind, multiples of 256
  bool reserved_ = false;
  DeviceMemory region_;
  std::array<void*, kKinds> at_ = {};  // of each kind in the region
  struct Piece {
    DeviceMemory memory;
    size_t bytes = 0;
  };
  std::array<Piece, kKinds> grown_;
};

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_SCRATCH_H_
