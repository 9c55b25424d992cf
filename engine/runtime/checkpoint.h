// A saved session as bytes: a header that says whose they are and where the session stood, then its memory.
#ifndef LONGTAKE_ENGINE_RUNTIME_CHECKPOINT_H_
#define LONGTAKE_ENGINE_RUNTIME_CHECKPOINT_H_

#include <cstddef>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "engine/runtime/session_position.h"

namespace longtake {

// Version 1, little-endian:
//
//   0  "LONGTAKE"
//   8  u32 version
//   12 u32 CRC-32C of all that follows
//   16 u64 bytes of the whole checkpoint
//   24 u32 bytes of the header, a multiple of 64
//   28 numerics id, model digest: u32 length and bytes each
//      spec: i32 width, height, latent frames; u64 seed
//      position: i32 block, decoded latent frames, block from which the waiting prompt counts; i64 tokens of the
//      prompt, of its negative, of the waiting prompt, of its negative; u8 has a prompt, u8 a prompt waits zeros up to
//      the header's end
//
// The pieces of Session::Memory() follow, one behind the other.
struct Checkpoint {
  std::string numerics_id, model_digest;
  SessionSpec spec;
  // Only what the list above names; the rest is what a fresh session has.
  SessionPosition position;
};

size_t CheckpointHeaderBytes(const Checkpoint& checkpoint);

// Completes `bytes`, which hold the memory behind CheckpointHeaderBytes.
void SealCheckpoint(const Checkpoint& checkpoint, std::span<std::byte> bytes);

// DataLoss says what is wrong with the bytes: no checkpoint, of another version, shorter or longer than they were
// written, changed. `memory`, where it is not null, gets the part behind the header.
absl::StatusOr<Checkpoint> ReadCheckpoint(std::span<const std::byte> bytes, std::span<const std::byte>* memory);

// FailedPrecondition names the first of these that differs: model, numerics id, spec.
absl::Status CheckSameSession(const Checkpoint& checkpoint, const ModelInfo& model, const SessionSpec& spec);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_CHECKPOINT_H_
