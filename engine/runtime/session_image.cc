#include "engine/runtime/session_image.h"

namespace longtake {

size_t ImageBytes(const MemoryPieces& pieces) {
  size_t bytes = 0;
  for (const std::span<std::byte> piece : pieces) bytes += piece.size();
  return bytes;
}

void CopyToImage(Ops& ops, const MemoryPieces& pieces, std::byte* image) {
  for (const std::span<std::byte> piece : pieces) {
    ops.device().DownloadAsync(piece.data(), image, piece.size());
    image += piece.size();
  }
}

void CopyFromImage(Ops& ops, const std::byte* image, const MemoryPieces& pieces) {
  for (const std::span<std::byte> piece : pieces) {
    ops.device().Upload(image, piece.data(), piece.size());
    image += piece.size();
  }
}

}  // namespace longtake
