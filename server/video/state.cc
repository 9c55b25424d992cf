#include "server/video/state.h"

namespace longtake::server {
namespace {

constexpr int kStates = 7;

// Rows: from, columns: to, both in State's order.
constexpr bool kMoves[kStates][kStates] = {
    // Queued Placed Making Paused Made   Failed Cancelled
    {false, true, false, false, false, true, true},     // Queued
    {false, false, true, false, false, true, true},     // Placed
    {false, false, false, true, true, true, true},      // Making
    {false, false, true, false, false, true, true},     // Paused
    {false, false, false, false, false, false, false},  // Made
    {false, false, false, false, false, false, false},  // Failed
    {false, false, false, false, false, false, false},  // Cancelled
};

}  // namespace

bool MayMove(State from, State to) { return kMoves[static_cast<int>(from)][static_cast<int>(to)]; }

const char* Name(State state) {
  switch (state) {
    case State::kQueued:
      return "queued";
    case State::kPlaced:
      return "placed";
    case State::kMaking:
      return "making";
    case State::kPaused:
      return "paused";
    case State::kMade:
      return "made";
    case State::kFailed:
      return "failed";
    case State::kCancelled:
      return "cancelled";
  }
  return "unknown";
}

}  // namespace longtake::server
