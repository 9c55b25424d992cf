// Loads the engine on one device.
#ifndef LONGTAKE_ENGINE_RUNTIME_LOAD_H_
#define LONGTAKE_ENGINE_RUNTIME_LOAD_H_

#include <memory>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "engine/runtime/movable_engine.h"
#include "engine/runtime/part_ops.h"

namespace longtake {

// Like Engine::Load, for one of the options' devices and `slots` sessions. Throws bad_alloc and length_error.
absl::StatusOr<std::unique_ptr<MovableEngine>> LoadSlotEngine(const EngineOptions& options, int device, int slots);
// The same with operations that the caller has made; the options that choose backend, types and threads are ignored.
absl::StatusOr<std::unique_ptr<MovableEngine>> LoadSlotEngine(const EngineOptions& options, PartOps parts, int slots);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_LOAD_H_
