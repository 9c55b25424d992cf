// Saving and restoring sessions, in the decoder's lane.
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/runtime/checkpoint.h"
#include "engine/runtime/executor.h"
#include "engine/runtime/session_image.h"

namespace longtake {

Executor::Handle Executor::IssueSave(const BoundPass& p) {
  Session& session = *p.session;
  const MemoryPieces pieces = session.Memory();
  Handle handle = NewIssued(Lane::kDecoder, 1);
  IssuedPasses::One& one = handle->passes.emplace_back();
  one.pass = p;
  one.progress = session.progress();
  one.saved = std::make_unique<SavedSession>();
  SavedSession& saved = *one.saved;
  saved.header = {.numerics_id = model_.info().numerics_id,
                  .model_digest = model_.info().model_digest,
                  .spec = session.spec(),
                  .first_image = DigestOf(session.spec().first_image),
                  .position = session.BlockStart()};
  const size_t header = CheckpointHeaderBytes(saved.header);
  saved.size = header + ImageBytes(pieces);
  std::byte* to = nullptr;
  if (checkpoint_staging_.has_value()) {
    saved.bytes.reserve(saved.size);  // so that Sealed, which runs on another thread, does not allocate
    to = saved.staged = checkpoint_staging_->Take();
  } else {
    saved.bytes.resize(saved.size);
    to = saved.bytes.data();
  }
  decoder_ops_.device().WaitFor(ops_.device(), session.state_written());
  CopyToImage(decoder_ops_, pieces, to + header);
  handle->event = decoder_ops_.device().Record();
  session.Saved(handle->event);
  return handle;
}

std::vector<std::byte> Executor::Sealed(SavedSession& saved) {
  if (saved.staged != nullptr) saved.bytes.assign(saved.staged, saved.staged + saved.size);
  SealCheckpoint(saved.header, saved.bytes);
  return std::move(saved.bytes);
}

absl::StatusOr<SessionPosition> Executor::ReadPosition(const Session& session, std::span<const std::byte> checkpoint,
                                                       std::span<const std::byte>* memory) const {
  ASSIGN_OR_RETURN(Checkpoint read, ReadCheckpoint(checkpoint, memory));
  RETURN_IF_ERROR(CheckSameSession(read, model_.info(), session.spec()));
  RETURN_IF_ERROR(session.CompletePosition(&read.position));
  if (const size_t bytes = ImageBytes(session.MemoryAt(read.position)); bytes != memory->size()) {
    return absl::DataLossError(
        absl::StrCat("checkpoint: it has ", memory->size(), " bytes of the session's memory, not ", bytes));
  }
  return read.position;
}

// The session has no other pass in flight, so neither lane accesses its memory.
absl::StatusOr<Executor::Handle> Executor::IssueRestore(const BoundPass& p) {
  Session& session = *p.session;
  // All checks of the bytes come before the first change of the session.
  std::span<const std::byte> memory;
  ASSIGN_OR_RETURN(const SessionPosition position, ReadPosition(session, p.pass->checkpoint, &memory));
  Handle handle = NewIssued(Lane::kDecoder, 1);
  session.StandAt(position);
  CopyFromImage(decoder_ops_, memory.data(), session.Memory());
  if (!session.begins_decoding()) RebuildCaches(session, p.slot);
  handle->event = decoder_ops_.device().Record();
  handle->passes.push_back({.pass = p, .progress = session.progress()});
  return handle;
}

}  // namespace longtake
