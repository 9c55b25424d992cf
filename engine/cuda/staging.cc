#include "engine/cuda/staging.h"

#include <cstring>

#include "common/status_macros.h"

namespace longtake::cuda {
namespace {

constexpr size_t kAlignment = 128;
// Tables looked back at: a layer of the transformer has about fifteen, of which all but four are the same in every
// layer; operations make them anew each time, so they are known by their bytes and not by their address.
constexpr size_t kRecent = 64;

}  // namespace

absl::StatusOr<std::unique_ptr<Staging>> Staging::Create(Launcher& launcher, size_t bytes) {
  bytes = bytes / (kAlignment * kPieces) * (kAlignment * kPieces);
  std::unique_ptr<Staging> staging(new Staging(launcher, bytes));
  ASSIGN_OR_RETURN(staging->host_, AllocatePinned(bytes));
  ASSIGN_OR_RETURN(staging->device_, AllocateDevice(bytes));
  for (Event& event : staging->left_) {
    ASSIGN_OR_RETURN(event, MakeEvent(/*timing=*/false));
  }
  return staging;
}

void Staging::NextPiece() {
  launcher_.Check(cudaEventRecord(left_[piece_ % kPieces].get(), launcher_.stream()), "staging");
  ++piece_;
  used_ = 0;
  // An event never recorded is done: the first round waits for nothing.
  launcher_.Check(cudaEventSynchronize(left_[piece_ % kPieces].get()), "staging");
}

const void* Staging::PutBytes(const void* host, size_t bytes) {
  if (bytes == 0 || !launcher_.ok()) return nullptr;
  if (bytes > piece_bytes_) {
    launcher_.Check(cudaErrorInvalidValue, "staging: a table is larger than a quarter of the ring");
    return nullptr;
  }
  for (const Recent& r : recent_) {
    if (r.bytes == bytes && piece_ - r.piece < kPieces - 1 && std::memcmp(Host(r.offset), host, bytes) == 0) {
      return Device(r.offset);
    }
  }
  if (used_ + bytes > piece_bytes_) NextPiece();
  const size_t offset = piece_ % kPieces * piece_bytes_ + used_;
  used_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
  std::memcpy(Host(offset), host, bytes);
  launcher_.Check(cudaMemcpyAsync(Device(offset), Host(offset), bytes, cudaMemcpyHostToDevice, launcher_.stream()),
                  "staging");
  bytes_copied_ += bytes;
  if (recent_.size() == kRecent) recent_.erase(recent_.begin());
  recent_.push_back({bytes, offset, piece_});
  return Device(offset);
}

}  // namespace longtake::cuda
