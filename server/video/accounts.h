// Whether a tenant may have a video made, and what it takes.
#ifndef LONGTAKE_SERVER_VIDEO_ACCOUNTS_H_
#define LONGTAKE_SERVER_VIDEO_ACCOUNTS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "scheduler/scheduler.h"
#include "server/video/tenant.h"

namespace longtake::server {

// Any thread, without a lock of a video's. This one refuses nothing and counts nothing. Ids are those of videos'
// sessions.
class Accounts {
 public:
  virtual ~Accounts() = default;
  // A video is to be made. An error refuses it, and no other call follows. `restored`: it was accepted before the
  // server's start, so it is counted and not refused.
  virtual absl::Status OnNew(uint64_t /*id*/, const Tenant& /*tenant*/, scheduler::Delivery /*delivery*/,
                             bool /*restored*/) {
    return absl::OkStatus();
  }
  // It waits for a place; more than once where its position changes.
  virtual void OnWaiting(uint64_t /*id*/) {}
  virtual void OnPlaced(uint64_t /*id*/) {}
  // A pass of it has taken so long.
  virtual void OnUsed(uint64_t /*id*/, double /*device_seconds*/) {}
  // It is over, or was refused by others. Unknown ids are ignored.
  virtual void OnOver(uint64_t /*id*/) {}
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_ACCOUNTS_H_
