// Several devices as one engine: each has the model and slots of its own; a session lives on one of them and may change
// it between two blocks.
#ifndef LONGTAKE_ENGINE_RUNTIME_DEVICE_GROUP_H_
#define LONGTAKE_ENGINE_RUNTIME_DEVICE_GROUP_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "engine/runtime/movable_engine.h"
#include "engine/runtime/rebalance.h"

namespace longtake {

// Sessions go to the device with the fewest, the first of equals. A batch's passes run on their sessions' devices at
// once; completions come one at a time, from any of the devices' threads.
//
// With the first pass of a block comes the chance to move: where `policy` says so, the session's image goes through the
// host's memory to another device, while the rest of the batch runs, and its passes follow there. One session moves at
// a time. It holds exactly one slot all the while: the other device's from the beginning of the move on, and its old
// one is free. Bytes do not depend on moves, for the members are of one numerics id; FailedPrecondition where they are
// not.
//
// A device that fails takes its sessions with it: their passes end with its status, and no session is opened on it or
// moved to it any more. A session on its way there goes to any device with a free slot instead.
absl::StatusOr<std::unique_ptr<Engine>> MakeDeviceGroup(std::vector<std::unique_ptr<MovableEngine>> members,
                                                        MovePolicy policy = Rebalance);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_DEVICE_GROUP_H_
