// An engine on one device whose sessions can be taken off it and put onto another.
#ifndef LONGTAKE_ENGINE_RUNTIME_MOVABLE_ENGINE_H_
#define LONGTAKE_ENGINE_RUNTIME_MOVABLE_ENGINE_H_

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "engine/ops/ops.h"
#include "engine/runtime/session_position.h"

namespace longtake {

// A session moves between two blocks: its last block is committed, the next one not begun, none of its passes under way
// or submitted. What it is then is its position and the bytes of its memory: what a checkpoint has (the state, the
// prompts, the latents that are still needed) and, once it has begun to decode, the decoder's caches. Together they
// make its image, equal on every engine of one numerics id.
class MovableEngine : public Engine {
 public:
  // Sessions that could be opened now; 0 once the device has failed.
  virtual int free_slots() const = 0;

  // Memory of the host for the image of any session, where this device copies fastest from and to.
  virtual std::unique_ptr<Buffer> AllocateImage() = 0;
  // Of the session's image as it stands; 0 where it is unknown.
  virtual size_t ImageBytes(SessionId id) const = 0;

  // From the return on the session is unknown and its slot free. The next session of that slot does not disturb it: its
  // memory is read before any pass that is submitted later runs. `done` is called on the engine's thread when the bytes
  // are in `image`. FailedPrecondition: the session is unknown or a pass is under way, and nothing has changed. Any
  // other error means that the session is lost.
  virtual void TakeSession(SessionId id, Buffer& image, std::function<void(absl::StatusOr<SessionPosition>)> done) = 0;

  // Makes `id`, just opened with the same spec, the session of the image. `done` is called on the engine's thread when
  // `image` is no longer read. An error means that the device has failed; the image is as good as before.
  virtual void PutSession(SessionId id, const SessionPosition& position, Buffer& image,
                          std::function<void(absl::Status)> done) = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_MOVABLE_ENGINE_H_
