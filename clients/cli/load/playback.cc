#include "clients/cli/load/playback.h"

namespace longtake::client {
namespace {

// A sixteenth of a frame at 16 frames a second: nobody sees it, and no chunk that is really late hides in it.
constexpr double kNoStall = 0.004;

}  // namespace

bool Playback::Arrived(double at, double seconds) {
  bool stalled = false;
  if (!started_) {
    started_ = true;
    first_ = at;
  } else if (at > ends() + kNoStall) {
    stalled = true;
    ++stalls_;
    late_ += at - ends();  // what comes after is due so much later
  }
  video_seconds_ += seconds;
  return stalled;
}

void Playback::Cut(double at) {
  if (!started_ || at <= ends() + kNoStall) return;
  ++stalls_;
  late_ += at - ends();
}

}  // namespace longtake::client
