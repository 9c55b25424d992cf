// Copies a session's device memory to an image in host memory, and back.
#ifndef LONGTAKE_ENGINE_RUNTIME_SESSION_IMAGE_H_
#define LONGTAKE_ENGINE_RUNTIME_SESSION_IMAGE_H_

#include <cstddef>
#include <span>
#include <vector>

#include "engine/ops/ops.h"

namespace longtake {

// The pieces of a session's device memory, in the order in which the image holds them.
using MemoryPieces = std::vector<std::span<std::byte>>;

size_t ImageBytes(const MemoryPieces& pieces);
// Asynchronous, in the stream order of `ops`: the bytes have arrived when an event recorded later has completed. Memory
// of Device::AllocateHost is fastest.
void CopyToImage(Ops& ops, const MemoryPieces& pieces, std::byte* image);
void CopyFromImage(Ops& ops, const std::byte* image, const MemoryPieces& pieces);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_SESSION_IMAGE_H_
