#include "engine/cuda/scratch.h"

#include <algorithm>
#include <cstdint>

#include "common/status_macros.h"

namespace longtake::cuda {
namespace {

constexpr size_t kAlignment = 256;

// Where planned pieces lie: nowhere, but not at null, so that offsets may be added.
void* Nowhere() { return reinterpret_cast<void*>(uintptr_t{1} << 20); }

}  // namespace

void* ScratchRegion::Take(ScratchPiece kind, size_t bytes) {
  const auto k = static_cast<size_t>(kind);
  const size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  if (launcher_.mode() == Launcher::Mode::kPlan) {
    planned_[k] = std::max<size_t>(planned_[k], rounded);
    return Nowhere();
  }
  if (!launcher_.Bind()) return nullptr;
  used_[k] = std::max<size_t>(used_[k], rounded);
  if (reserved_) {
    if (rounded <= planned_[k]) return at_[k];
    launcher_.Check(cudaErrorInvalidValue, "scratch: an operation needs more than was planned");
    return nullptr;
  }
  // Of the exact size, so that what a kernel does beyond it is found (tests/cuda/emulation, compute-sanitizer).
  Piece& piece = grown_[k];
  if (piece.bytes < bytes) {
    // Freeing waits for the device, and so for work that still reads the smaller piece.
    if (!launcher_.Check(cudaStreamSynchronize(launcher_.stream()), "scratch")) return nullptr;
    piece = {};
    void* data = nullptr;
    if (!launcher_.Check(cudaMalloc(&data, bytes), "scratch")) return nullptr;
    piece = {DeviceMemory(data), bytes};
  }
  return piece.memory.get();
}

absl::Status ScratchRegion::Reserve() {
  ASSIGN_OR_RETURN(region_, AllocateDevice(planned_bytes()));
  size_t offset = 0;
  for (size_t k = 0; k < kKinds; ++k) {
    at_[k] = static_cast<std::byte*>(region_.get()) + offset;
    offset += planned_[k];
  }
  grown_ = {};
  reserved_ = true;
  return absl::OkStatus();
}

}  // namespace longtake::cuda
