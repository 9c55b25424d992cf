// The open sessions of one device and the slots they are in.
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

// Not synchronized: its owner's lock guards every call, and the entries but for `session`, which belongs to the thread
// that runs passes.
class SessionTable {
 public:
  // A session has at most one pass under way in each of these roles.
  enum Role : size_t { kPrompt, kBlock, kFrame, kRoles };
  static Role RoleOf(PassKind kind) {
    if (kind == PassKind::kEncodePrompt) return kPrompt;
    return LaneOf(kind) == Lane::kDecoder ? kFrame : kBlock;
  }

  struct Entry {
    SessionId id = 0;
    std::unique_ptr<Session> session;
    int slot = 0;
    SessionProgress progress;  // as of the passes that have completed
    // By role: whether a pass is under way, and the sequence number of its batch while the batch has not begun, else
    // 0.
    std::array<bool, kRoles> busy = {};
    std::array<uint64_t, kRoles> waiting = {};
    int users = 0;  // passes and tasks that still need the entry
    bool restoring = false;
    bool closed = false;
  };

  explicit SessionTable(int slots);

  int slots() const { return slots_; }
  int free_slots() const { return static_cast<int>(free_.size()); }

  // ResourceExhausted where no slot is free. `make` gets the slot.
  absl::StatusOr<SessionId> Open(absl::FunctionRef<std::unique_ptr<Session>(int slot)> make);
  // The slot is free once nobody uses the entry. Unknown ids are ignored.
  void Close(SessionId id);
  // Null for an unknown session and for a closed one.
  Entry* Find(SessionId id);
  const Entry* Find(SessionId id) const;

  // A pass of a batch that was just submitted: it uses the entry until End. FailedPrecondition where another one is
  // under way in its role, or any beside a restore.
  absl::Status Begin(Entry& entry, PassKind kind, uint64_t sequence);
  // The pass has completed. `now`: the session's progress behind it, of which what the pass's kind changes is taken
  // over: a pass in the other lane may have been issued before it and complete after it.
  void End(Entry& entry, PassKind kind, const SessionProgress& now);

  // For tasks other than passes.
  void Use(Entry& entry) { ++entry.users; }
  void Release(Entry& entry);
  // Forgets a session that nobody uses, and frees its slot.
  std::unique_ptr<Session> Remove(Entry& entry);

 private:
  const int slots_;
  std::map<SessionId, Entry> sessions_;
  std::vector<int> free_;
  SessionId last_id_ = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_SESSION_TABLE_H_
