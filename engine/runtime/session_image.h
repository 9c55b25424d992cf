// A session outside its slot: copies between device memory and an image of it in host memory.
#ifndef LONGTAKE_ENGINE_RUNTIME_SESSION_IMAGE_H_
#define LONGTAKE_ENGINE_RUNTIME_SESSION_IMAGE_H_

#include <cstddef>
#include <span>
#include <vector>

#include "engine/ops/ops.h"

namespace longtake {

// The pieces of a session's device memory, one behind the other in the image.
using MemoryPieces = std::vector<std::span<std::byte>>;

size_t ImageBytes(const MemoryPieces& pieces);
// In the order of `ops`: done when an event recorded later has been reached. Fastest with memory of AllocateHost.
void CopyToImage(Ops& ops, const MemoryPieces& pieces, std::byte* image);
void CopyFromImage(Ops& ops, const std::byte* image, const MemoryPieces& pieces);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_SESSION_IMAGE_H_
