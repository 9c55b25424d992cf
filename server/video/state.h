// The states of a video and the moves between them.
#ifndef LONGTAKE_SERVER_VIDEO_STATE_H_
#define LONGTAKE_SERVER_VIDEO_STATE_H_

namespace longtake::server {

// Documented at longtake.v1.Video.State.
enum class State { kQueued, kPlaced, kMaking, kPaused, kMade, kFailed, kCancelled };

// Whether a video may go from one state to the other:
//
//   from \ to   Placed  Making  Paused  Made  Failed  Cancelled
//   Queued        x                             x        x
//   Placed                x                     x        x
//   Making                        x      x      x        x
//   Paused                x                     x        x
//
// Nothing leads out of Made, Failed and Cancelled.
bool MayMove(State from, State to);

constexpr bool IsEnd(State state) {
  return state == State::kMade || state == State::kFailed || state == State::kCancelled;
}

// "making"; for logs.
const char* Name(State state);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_STATE_H_
