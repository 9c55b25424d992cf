// Small tables from the host to the device: segments, modulation rows, pointers.
#ifndef LONGTAKE_ENGINE_CUDA_STAGING_H_
#define LONGTAKE_ENGINE_CUDA_STAGING_H_

#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/cuda/handles.h"
#include "engine/cuda/launcher.h"

namespace longtake::cuda {

// A ring of pinned memory and one of the same size on the device. A table is copied into the first at once and from
// there to the second in the stream's order, so the caller's memory is free when Put returns. The ring is cut into
// pieces; a piece is written again only after the stream has passed the work that read it.
class Staging {
 public:
  // `bytes`: of the ring. A table may have a quarter of that. `listed`: whether launches will be listed.
  static absl::StatusOr<std::unique_ptr<Staging>> Create(Launcher& launcher, size_t bytes, bool listed = false);

  // The table's address on the device, for what is launched on the launcher's stream until kPieces - 1 pieces more have
  // been filled; null for an empty one. Ask again for each launch rather than keep it. A table equal to a
  // recent one is not copied again while that copy stands.
  template <typename T>
  const T* Put(std::span<const T> table) {
    static_assert(std::is_trivially_copyable_v<T>);
    return static_cast<const T*>(PutBytes(table.data(), table.size_bytes()));
  }
  template <typename T>
  const T* Put(const std::vector<T>& table) {
    return Put(std::span<const T>(table));
  }

  // A table that is the caller's until listing ends, and asked for again by its address.
  template <typename T>
  const T* PutKept(std::span<const T> table) {
    static_assert(std::is_trivially_copyable_v<T>);
    return static_cast<const T*>(PutKeptBytes(table.data(), table.size_bytes()));
  }

  // While the launcher lists launches, tables are gathered. They are given addresses that depend on how many bytes each
  // has, and on nothing else: lists of like tables have like arguments. SendTables copies them there, in the stream's
  // order; false where they had more bytes than a quarter of the ring, so that the list is of no use.
  void GatherTables();
  bool SendTables();

  static constexpr int kPieces = 4;
  size_t device_bytes() const { return (kPieces + (gathered_at_.get() == nullptr ? 0 : 1)) * piece_bytes_; }
  uint64_t bytes_copied() const { return bytes_copied_; }

 private:
  struct Recent {
    size_t bytes = 0, offset = 0;
    uint64_t piece = 0;  // as counted by piece_
  };

  Staging(Launcher& launcher, size_t bytes) : launcher_(launcher), piece_bytes_(bytes / kPieces) {}
  const void* PutBytes(const void* host, size_t bytes);
  const void* PutKeptBytes(const void* host, size_t bytes);
  const void* Gather(const void* host, size_t bytes);
  // Room in the ring for `bytes`.
  size_t Reserve(size_t bytes);
  void NextPiece();
  std::byte* Host(size_t offset) const { return static_cast<std::byte*>(host_.get()) + offset; }
  std::byte* Device(size_t offset) const { return static_cast<std::byte*>(device_.get()) + offset; }

  Launcher& launcher_;
  size_t piece_bytes_;
  PinnedMemory host_;
  DeviceMemory device_;
  EventHandle left_[kPieces];  // recorded when the writer left the piece
  uint64_t piece_ = 0;         // pieces begun so far, less one
  size_t used_ = 0;            // bytes of the present one
  std::vector<Recent> recent_;
  uint64_t bytes_copied_ = 0;

  DeviceMemory gathered_at_;  // piece_bytes_
  std::vector<std::byte> gathered_;
  struct Kept {
    const void* host;
    size_t bytes;
    const void* at;
  };
  std::vector<Kept> kept_;
};

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_STAGING_H_
