#include "engine/cuda/staging.h"

#include <algorithm>
#include <cstring>

#include "common/status_macros.h"

namespace longtake::cuda {
namespace {

constexpr size_t kAlignment = 128;
// Tables looked back at: a layer of the transformer has about fifteen, of which all but four are the same in every
// layer; operations make them anew each time, so they are known by their bytes and not by their address.
constexpr size_t kRecent = 64;

}  // namespace

absl::StatusOr<std::unique_ptr<Staging>> Staging::Create(Launcher& launcher, size_t bytes, bool listed) {
  bytes = bytes / (kAlignment * kPieces) * (kAlignment * kPieces);
  std::unique_ptr<Staging> staging(new Staging(launcher, bytes));
  ASSIGN_OR_RETURN(staging->host_, AllocatePinned(bytes));
  ASSIGN_OR_RETURN(staging->device_, AllocateDevice(bytes));
  if (listed) {
    ASSIGN_OR_RETURN(staging->gathered_at_, AllocateDevice(staging->piece_bytes_));
  }
  for (EventHandle& event : staging->left_) {
    ASSIGN_OR_RETURN(event, MakeEvent(Wait::kSpinning));
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
  if (launcher_.mode() == Launcher::Mode::kPlan) return nullptr;
  if (launcher_.mode() == Launcher::Mode::kList) return Gather(host, bytes);
  for (const Recent& r : recent_) {
    if (r.bytes == bytes && piece_ - r.piece < kPieces - 1 && std::memcmp(Host(r.offset), host, bytes) == 0) {
      return Device(r.offset);
    }
  }
  const size_t offset = Reserve(bytes);
  std::memcpy(Host(offset), host, bytes);
  launcher_.Check(cudaMemcpyAsync(Device(offset), Host(offset), bytes, cudaMemcpyHostToDevice, launcher_.stream()),
                  "staging");
  bytes_copied_ += bytes;
  if (recent_.size() == kRecent) recent_.erase(recent_.begin());
  recent_.push_back({bytes, offset, piece_});
  return Device(offset);
}

size_t Staging::Reserve(size_t bytes) {
  if (used_ + bytes > piece_bytes_) NextPiece();
  const size_t offset = piece_ % kPieces * piece_bytes_ + used_;
  used_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
  return offset;
}

const void* Staging::PutKeptBytes(const void* host, size_t bytes) {
  if (launcher_.mode() != Launcher::Mode::kList) return PutBytes(host, bytes);
  for (const Kept& k : kept_) {
    if (k.host == host && k.bytes == bytes) return k.at;
  }
  const void* at = PutBytes(host, bytes);
  kept_.push_back({host, bytes, at});
  return at;
}

void Staging::GatherTables() {
  gathered_.clear();
  kept_.clear();
}

const void* Staging::Gather(const void* host, size_t bytes) {
  const size_t offset = gathered_.size();
  gathered_.resize(offset + (bytes + kAlignment - 1) / kAlignment * kAlignment);
  std::memcpy(gathered_.data() + offset, host, bytes);
  // Beyond the end no launch will follow.
  return static_cast<std::byte*>(gathered_at_.get()) + std::min(offset, piece_bytes_);
}

bool Staging::SendTables() {
  if (gathered_.size() > piece_bytes_) return false;
  if (gathered_.empty() || !launcher_.ok()) return true;
  const size_t offset = Reserve(gathered_.size());
  std::memcpy(Host(offset), gathered_.data(), gathered_.size());
  launcher_.Check(
      cudaMemcpyAsync(gathered_at_.get(), Host(offset), gathered_.size(), cudaMemcpyHostToDevice, launcher_.stream()),
      "staging");
  bytes_copied_ += gathered_.size();
  return true;
}

}  // namespace longtake::cuda
