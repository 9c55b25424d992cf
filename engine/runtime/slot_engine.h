// The engine on one device: sessions in slots, and one thread that runs batches in the order of their submission.
#ifndef LONGTAKE_ENGINE_RUNTIME_SLOT_ENGINE_H_
#define LONGTAKE_ENGINE_RUNTIME_SLOT_ENGINE_H_

#include <memory>

#include "absl/status/statusor.h"
#include "engine/runtime/movable_engine.h"

namespace longtake {

// As Engine::Load, for one of the options' devices and `slots` sessions.
absl::StatusOr<std::unique_ptr<MovableEngine>> LoadSlotEngine(const EngineOptions& options, int device, int slots);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_SLOT_ENGINE_H_
