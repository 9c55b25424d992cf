#include "server/video/audience.h"

#include <algorithm>

namespace longtake::server {

int Audience::followers() const {
  return static_cast<int>(
      std::count_if(watches_.begin(), watches_.end(), [](const Watch* watch) { return watch->follows(); }));
}

void Audience::Took(const Watch& watch, int64_t frames) {
  if (watch.follows()) taken_ = std::max(taken_, frames);
}

bool Audience::BeginsBehind(int block) const {
  return std::any_of(watches_.begin(), watches_.end(),
                     [block](const Watch* watch) { return watch->follows() && watch->first_block() > block; });
}

int64_t Audience::taken(const VideoPlan& plan) const {
  int64_t taken = taken_;
  for (const Watch* watch : watches_) {
    if (watch->follows()) taken = std::max<int64_t>(taken, plan.block_starts[watch->first_block()]);
  }
  return taken;
}

bool Audience::ReportPlayback(const std::string& viewer_id, absl::Duration position, bool paused) {
  bool found = false;
  for (Watch* watch : watches_) {
    if (watch->viewer_id() != viewer_id) continue;
    watch->ReportPlayback(position, paused);
    found = true;
  }
  reported_ = reported_ || found;
  return found;
}

std::optional<Audience::Playback> Audience::playback() {
  if (!reported_) return std::nullopt;
  std::optional<absl::Duration> playing, pausing;
  for (const Watch* watch : watches_) {
    if (!watch->follows()) continue;
    const Watch::Picture picture = watch->picture();
    std::optional<absl::Duration>& foremost = picture.paused ? pausing : playing;
    foremost = std::max(foremost.value_or(absl::ZeroDuration()), picture.position);
  }
  // Without followers nobody pauses: the video goes on as its disconnect policy says.
  position_ = playing.value_or(pausing.value_or(position_));
  return Playback{position_, pausing.has_value() && !playing.has_value()};
}

std::optional<absl::Duration> Audience::foremost() const {
  std::optional<absl::Duration> foremost;
  for (const Watch* watch : watches_) {
    if (watch->follows()) foremost = std::max(foremost.value_or(absl::ZeroDuration()), watch->picture().position);
  }
  return foremost;
}

void Audience::Count(int& undisturbed, int& stalled) const {
  for (const Watch* watch : watches_) {
    const Watch::Picture picture = watch->picture();
    if (picture.judged && picture.started) ++(picture.stalled ? stalled : undisturbed);
  }
}

}  // namespace longtake::server
