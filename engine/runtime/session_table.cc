#include "engine/runtime/session_table.h"

#include <utility>

namespace longtake {

SessionTable::SessionTable(int slots) : slots_(slots) {
  for (int slot = slots - 1; slot >= 0; --slot) free_.push_back(slot);
}

absl::StatusOr<SessionId> SessionTable::Open(absl::FunctionRef<std::unique_ptr<Session>(int slot)> make) {
  if (free_.empty()) return absl::ResourceExhaustedError("sessions: no slot is free");
  const int slot = free_.back();
  std::unique_ptr<Session> session = make(slot);
  Entry& entry = sessions_[last_id_ + 1];
  entry.id = ++last_id_;
  entry.slot = slot;
  entry.progress = session->progress();
  entry.session = std::move(session);
  free_.pop_back();
  return entry.id;
}

void SessionTable::Close(SessionId id) {
  Entry* entry = Find(id);
  if (entry == nullptr) return;
  entry->closed = true;
  if (entry->users == 0) Remove(*entry);
}

SessionTable::Entry* SessionTable::Find(SessionId id) {
  const auto it = sessions_.find(id);
  return it == sessions_.end() || it->second.closed ? nullptr : &it->second;
}

const SessionTable::Entry* SessionTable::Find(SessionId id) const { return const_cast<SessionTable*>(this)->Find(id); }

absl::Status SessionTable::Begin(Entry& entry, PassKind kind, uint64_t sequence) {
  const Role role = RoleOf(kind);
  if (entry.busy[role]) return absl::FailedPreconditionError("pass: the session has one under way in its role");
  if (entry.restoring || (kind == PassKind::kRestore && entry.users > 0)) {
    return absl::FailedPreconditionError("pass: beside a restore the session has no other under way");
  }
  entry.restoring = kind == PassKind::kRestore;
  entry.busy[role] = true;
  entry.waiting[role] = sequence;
  ++entry.users;
  return absl::OkStatus();
}

void SessionTable::End(Entry& entry, PassKind kind, const SessionProgress& now) {
  SessionProgress& known = entry.progress;
  if (kind == PassKind::kRestore) {
    known = now;
    entry.restoring = false;
  } else if (kind == PassKind::kDecode) {
    known.decoded_latents = now.decoded_latents;
    known.spec.decoder = now.spec.decoder;
  } else if (kind == PassKind::kSave) {
    // A save changes nothing.
  } else if (kind == PassKind::kEncodePrompt) {
    known.has_prompt = now.has_prompt;
  } else {
    const SessionProgress before = std::exchange(known, now);
    known.decoded_latents = before.decoded_latents;
    known.spec.decoder = before.spec.decoder;
    known.has_prompt = before.has_prompt;
  }
  entry.busy[RoleOf(kind)] = false;
  Release(entry);
}

void SessionTable::Release(Entry& entry) {
  if (--entry.users == 0 && entry.closed) Remove(entry);
}

std::unique_ptr<Session> SessionTable::Remove(Entry& entry) {
  std::unique_ptr<Session> session = std::move(entry.session);
  free_.push_back(entry.slot);
  sessions_.erase(entry.id);
  return session;
}

}  // namespace longtake
