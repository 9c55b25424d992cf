// Combines several devices into one engine. Each device has its own model and slots; a session lives on one device and
// may move to another between two blocks.
#ifndef LONGTAKE_ENGINE_RUNTIME_DEVICE_GROUP_H_
#define LONGTAKE_ENGINE_RUNTIME_DEVICE_GROUP_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "engine/runtime/movable_engine.h"
#include "engine/runtime/rebalance.h"

namespace longtake {

// A new session goes to the device with the fewest sessions; among equals, to the first. The passes of a batch run
// concurrently on the devices of their sessions. Completions are called one at a time, on any of the devices' threads.
//
// A session may move when the first pass of a block is submitted. If `policy` chooses another device, the session's
// image is copied to it through host memory while the rest of the batch runs, and its passes then run there. One
// session moves at a time. It holds exactly one slot throughout: when the move begins it takes a slot of the new device
// and frees the old one. Output bytes do not depend on moves, because all members have the same numerics id;
// FailedPrecondition if they do not.
//
// If a device fails, the passes of its sessions complete with its status, and no session is opened on it or moved to it
// any more. A session that was moving to it goes to any other device with a free slot instead.
absl::StatusOr<std::unique_ptr<Engine>> MakeDeviceGroup(std::vector<std::unique_ptr<MovableEngine>> members,
                                                        MovePolicy policy = Rebalance);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_DEVICE_GROUP_H_
