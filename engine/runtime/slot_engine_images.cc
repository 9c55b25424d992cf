// Moving sessions off the device and onto it, as images.
#include <algorithm>
#include <utility>

#include "common/mutex.h"
#include "engine/ops/arena.h"
#include "engine/runtime/session_image.h"
#include "engine/runtime/slot_engine.h"

namespace longtake {

std::unique_ptr<Buffer> SlotEngine::AllocateImage() {
  return AllocateHostTouched(parts_.transformer(), Aligned(plan_.slot.state + plan_.slot.state_spare) +
                                                       Aligned(plan_.slot.latents) + Aligned(plan_.slot.prompt) +
                                                       Aligned(plan_.slot.decoder_cache));
}

size_t SlotEngine::ImageBytes(SessionId id) const {
  const MutexLock lock(mutex_);
  const SessionTable::Entry* entry = table_.Find(id);
  if (entry == nullptr || entry->users > 0) return 0;
  const Session& session = *entry->session;
  return longtake::ImageBytes(session.Memory()) + (session.begins_decoding() ? 0 : session.decoder().cache_bytes());
}

void SlotEngine::TakeSession(SessionId id, Buffer& image, std::function<void(absl::StatusOr<SessionPosition>)> done) {
  const MutexLock lock(mutex_);
  SessionTable::Entry* entry = table_.Find(id);
  if (entry == nullptr || entry->users > 0) {
    PushTask([done = std::move(done)] {
      done(absl::FailedPreconditionError("session: unknown, or a pass of it is under way"));
    });
    return;
  }
  // Shared, because std::function requires copyable captures.
  const int slot = entry->slot;
  const std::shared_ptr<Session> session = table_.Remove(*entry);
  PushTask([this, session, slot, &image, done = std::move(done)] {
    absl::Status status = Guarded([&] {
      CopyToImage(parts_.transformer(), MovingMemory(*session, slot, /*fresh=*/false),
                  static_cast<std::byte*>(image.data()));
    });
    if (status.ok()) {
      done(session->BlockStart());
    } else {
      done(std::move(status));
    }
  });
}

void SlotEngine::PutSession(SessionId id, const SessionPosition& position, Buffer& image,
                            std::function<void(absl::Status)> done) {
  const MutexLock lock(mutex_);
  SessionTable::Entry& entry = *table_.Find(id);
  table_.Use(entry);  // keeps the slot if the session is closed meanwhile
  PushTask([this, position, &entry, &image, done = std::move(done)] {
    // A pass that ran meanwhile would have changed the session that is replaced here; the caller must not submit one.
    const Session& old = *entry.session;
    std::unique_ptr<Session> session;
    absl::Status status = Guarded([&] {
      session =
          std::make_unique<Session>(*model_, old.shape(), old.blocks(), old.spec(), MemoryOf(entry.slot), position);
      CopyFromImage(parts_.transformer(), static_cast<const std::byte*>(image.data()),
                    MovingMemory(*session, entry.slot, /*fresh=*/true));
    });
    {
      const MutexLock lock(mutex_);
      if (session != nullptr) entry.session = std::move(session);
      if (!status.ok()) entry.session->Fail(status);
      entry.progress = entry.session->progress();
      table_.Release(entry);
    }
    done(std::move(status));
  });
}

// The memory that a checkpoint holds, and the decoder's caches: copying them takes less time than rebuilding them.
// Synchronizes the decoder's stream, because the caches are copied in the transformer's.
MemoryPieces SlotEngine::MovingMemory(const Session& session, int slot, bool fresh) {
  MemoryPieces pieces = session.Memory();
  if (session.begins_decoding()) return pieces;
  pieces.emplace_back(decoder_caches_.Bring(slot, fresh), session.decoder().cache_bytes());
  (void)parts_.decoder().device().Synchronize();  // if it fails, Guarded synchronizes again and reports it
  return pieces;
}

}  // namespace longtake
