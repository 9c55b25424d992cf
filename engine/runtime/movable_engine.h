// An engine on one device whose sessions can be moved to another device.
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

// A session can move between two blocks: its last block is committed, the next one has not begun, and no pass of it is
// submitted or in flight. It is then fully described by its position and its image. The image is the memory that a
// checkpoint holds (state, prompts, the latents still needed) and, once decoding has begun, the decoder's caches. It is
// the same on every engine with the same numerics id.
class MovableEngine : public Engine {
 public:
  // The number of sessions that can be opened now; 0 once the device has failed.
  virtual int free_slots() const = 0;

  // Allocates host memory for the image of any session, of the kind that this device copies fastest.
  virtual std::unique_ptr<Buffer> AllocateImage() = 0;
  // Bytes of the session's image now; 0 if the session is unknown or has a pass in flight.
  virtual size_t ImageBytes(SessionId id) const = 0;

  // Removes the session: on return its id is unknown and its slot is free. The slot may be reused at once, because the
  // session's memory is read before any pass that is submitted later runs. `done` is called on the engine's thread when
  // the bytes are in `image`. FailedPrecondition: the session is unknown or has a pass in flight, and nothing has
  // changed. After any other error the session is lost.
  virtual void TakeSession(SessionId id, Buffer& image, std::function<void(absl::StatusOr<SessionPosition>)> done) = 0;

  // Restores the image into `id`, a session just opened with the same spec. `done` is called on the engine's thread
  // when `image` is no longer read. An error means that the device has failed; the image is unchanged.
  virtual void PutSession(SessionId id, const SessionPosition& position, Buffer& image,
                          std::function<void(absl::Status)> done) = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_MOVABLE_ENGINE_H_
