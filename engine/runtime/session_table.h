// The open sessions of one device and their slots.
#ifndef LONGTAKE_ENGINE_RUNTIME_SESSION_TABLE_H_
#define LONGTAKE_ENGINE_RUNTIME_SESSION_TABLE_H_

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "engine/runtime/session.h"

namespace longtake {

// Not synchronized: the owner's lock guards every call and the entries. Entry::session is the exception: only the
// thread that runs passes uses it.
class SessionTable {
 public:
  // A session has at most one pass of each role in flight.
  enum Role : size_t { kPrompt, kBlock, kFrame, kRoles };
  static Role RoleOf(PassKind kind) {
    if (kind == PassKind::kEncodePrompt) return kPrompt;
    return LaneOf(kind) == Lane::kDecoder ? kFrame : kBlock;
  }

  struct Entry {
    SessionId id = 0;
    std::unique_ptr<Session> session;
    int slot = 0;
    SessionProgress progress;  // after the passes that have completed
    // For each role, whether a pass is in flight, and the sequence number of its batch while that batch waits in the
    // queue, else 0.
    std::array<bool, kRoles> busy = {};
    std::array<uint64_t, kRoles> waiting = {};
    int users = 0;  // passes and tasks that still use the entry
    bool restoring = false;
    bool closed = false;
  };

  explicit SessionTable(int slots);

  int slots() const { return slots_; }
  int free_slots() const { return static_cast<int>(free_.size()); }

  // Calls `make` with a free slot. ResourceExhausted: there is none.
  absl::StatusOr<SessionId> Open(absl::FunctionRef<std::unique_ptr<Session>(int slot)> make);
  // Frees the slot once `users` is 0. Unknown ids are ignored.
  void Close(SessionId id);
  // Null if the session is unknown or closed.
  Entry* Find(SessionId id);
  const Entry* Find(SessionId id) const;

  // Registers a pass of a batch that was just submitted; it uses the entry until End. FailedPrecondition: another pass
  // of the role is in flight, or any other beside a restore.
  absl::Status Begin(Entry& entry, PassKind kind, uint64_t sequence);
  // Registers the pass's completion. `now` is the session's progress after the pass. Only the fields that this kind of
  // pass changes are copied from it, because it also counts passes of the other lane that were issued earlier and may
  // not have completed.
  void End(Entry& entry, PassKind kind, const SessionProgress& now);

  // For tasks other than passes.
  void Use(Entry& entry) { ++entry.users; }
  void Release(Entry& entry);
  // Removes a session that has no users and frees its slot.
  std::unique_ptr<Session> Remove(Entry& entry);

 private:
  const int slots_;
  std::map<SessionId, Entry> sessions_;
  std::vector<int> free_;
  SessionId last_id_ = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_SESSION_TABLE_H_
