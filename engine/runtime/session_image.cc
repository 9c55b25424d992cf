#include "engine/runtime/session_image.h"

#include "engine/ops/arena.h"

namespace longtake {

size_t ImageBytes(const MemoryPieces& pieces) {
  size_t bytes = 0;
  for (const std::span<std::byte> piece : pieces) bytes += Aligned(piece.size());
  return bytes;
}

void CopyToImage(Ops& ops, const MemoryPieces& pieces, std::byte* image) {
  for (const std::span<std::byte> piece : pieces) {
    ops.device().Download(piece.data(), image, piece.size());
    image += Aligned(piece.size());
  }
}

void CopyFromImage(Ops& ops, const std::byte* image, const MemoryPieces& pieces) {
  for (const std::span<std::byte> piece : pieces) {
    ops.device().Upload(image, piece.data(), piece.size());
    image += Aligned(piece.size());
  }
  (void)ops.device().Synchronize();
}

}  // namespace longtake
