// The serialized form of a saved session: a header that identifies engine, session and position, then the session's
// memory.
#ifndef LONGTAKE_ENGINE_RUNTIME_CHECKPOINT_H_
#define LONGTAKE_ENGINE_RUNTIME_CHECKPOINT_H_

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "engine/runtime/session_position.h"

namespace longtake {

// Version 1, 2 where the session has adapters, or 3 where it has a first image; little-endian:
//
//   0  "LONGTAKE"
//   8  u32 version
//   12 u32 CRC-32C of all that follows
//   16 u64 bytes of the whole checkpoint
//   24 u32 bytes of the header, a multiple of 64
//   28 numerics id, model digest: u32 length and bytes each
//      spec: i32 width, height, latent frames; u64 seed
//      position: i32 block, decoded latent frames, first block that uses the waiting prompt
//                i64 tokens of the prompt, of its negative, of the waiting prompt, of its negative
//                u8 has a prompt, u8 a prompt waits
//      versions 2 and 3: u32 number of adapters; of each its name, u64 bits of its strength, its digest
//      version 3: the first image's digest
//      zeros up to the header's end
//
// The pieces of Session::Memory() follow, one after the other.
struct Checkpoint {
  std::string numerics_id, model_digest;
  SessionSpec spec;         // without its first image
  std::string first_image;  // DigestOf it; empty: there is none
  // Only the fields listed above are stored; the others have the values of a new session.
  SessionPosition position;
};

// 16 hexadecimal digits of the pixels; empty for null.
constexpr size_t kDigestBytes = 16;
std::string DigestOf(const std::shared_ptr<const FirstImage>& image);

size_t CheckpointHeaderBytes(const Checkpoint& checkpoint);

// Writes the header, with size and checksum, in front of the memory. `bytes` is the whole checkpoint:
// CheckpointHeaderBytes left free, then the memory.
void SealCheckpoint(const Checkpoint& checkpoint, std::span<std::byte> bytes);

// DataLoss states what is wrong: not a checkpoint, another version, truncated, too long, or a checksum mismatch.
// `memory`, unless null, is set to the part after the header.
absl::StatusOr<Checkpoint> ReadCheckpoint(std::span<const std::byte> bytes, std::span<const std::byte>* memory);

// FailedPrecondition names the first of these that differs: model, numerics id, spec, adapters, first image.
absl::Status CheckSameSession(const Checkpoint& checkpoint, const ModelInfo& model, const SessionSpec& spec);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_CHECKPOINT_H_
