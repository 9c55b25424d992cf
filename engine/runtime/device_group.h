// Several devices as one engine: each has the model and slots of its own, and a session lives on one of them.
#ifndef LONGTAKE_ENGINE_RUNTIME_DEVICE_GROUP_H_
#define LONGTAKE_ENGINE_RUNTIME_DEVICE_GROUP_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/engine.h"

namespace longtake {

// Sessions go to the device with the most free slots, the first of equals. A batch's passes run on their sessions'
// devices at once; completions come one at a time, from any of the devices' threads. FailedPrecondition where the
// members are not of one numerics id: a session's bytes would depend on where it was placed.
absl::StatusOr<std::unique_ptr<Engine>> MakeDeviceGroup(std::vector<std::unique_ptr<Engine>> members);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_DEVICE_GROUP_H_
