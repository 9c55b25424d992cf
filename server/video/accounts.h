// Whether a tenant may have a video made, and what it takes.
#ifndef LONGTAKE_SERVER_VIDEO_ACCOUNTS_H_
#define LONGTAKE_SERVER_VIDEO_ACCOUNTS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "scheduler/scheduler.h"
#include "server/video/tenant.h"

namespace longtake::server {

// Any thread, without a lock of a video's; all but OnNew return at once. This one refuses nothing and counts nothing.
// Ids are those of videos' sessions.
class Accounts {
 public:
  virtual ~Accounts() = default;
  // The video of this name is to be made; with a registry this server has taken it there. An error refuses it, and no
  // other call follows. `restored`: it was accepted before, by this server or another one, so it is counted and not
  // refused. May wait for the registry.
  virtual absl::Status OnNew(uint64_t /*id*/, const Tenant& /*tenant*/, const std::string& /*video*/,
                             scheduler::Delivery /*delivery*/, bool /*restored*/) {
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
