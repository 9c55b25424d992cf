#include "clients/cli/progress_bar.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "clients/cli/proto_time.h"

namespace longtake::client {
namespace {

constexpr double kRedrawSeconds = 0.1;
constexpr int kBarWidth = 24;

const char* NameOf(v1::Progress::Stage stage) {
  switch (stage) {
    case v1::Progress::STAGE_TEXT:
      return "text";
    case v1::Progress::STAGE_DENOISE:
      return "step";
    case v1::Progress::STAGE_COMMIT:
      return "commit";
    case v1::Progress::STAGE_DECODE:
      return "decode";
    default:
      return "pass";
  }
}

}  // namespace

std::string ProgressLine(const Story& story, double now, int bar_width) {
  if (!story.began()) {
    return story.waiting_position() > 0 ? absl::StrFormat("waiting, position %d", story.waiting_position())
                                        : "starting";
  }
  const v1::Progress& at = story.progress();
  const double share = story.finished() ? 1 : at.done_ratio();
  const int full = static_cast<int>(std::lround(share * bar_width));
  std::string line = absl::StrCat("[", std::string(full, '#'), std::string(bar_width - full, '.'), "]");
  absl::StrAppendFormat(&line, " %3.0f%% block %d/%d %s %d/%d  %.1f/%.1f s of video", 100 * share, at.block() + 1,
                        story.video().format().block_frame_counts_size(), NameOf(at.stage()), at.step(),
                        at.step_count(), story.seconds_of_video(), Seconds(story.video().format().duration()));
  if (now > 0 && story.seconds_of_video() > 0) {
    absl::StrAppendFormat(&line, "  %.2fx real time", story.seconds_of_video() / now);
  }
  if (share > 0 && share < 1) absl::StrAppendFormat(&line, "  %.0f s left", now * (1 - share) / share);
  return line;
}

void ProgressBar::Show(const Story& story, const v1::WatchVideoResponse& event, double now) {
  if (quiet_ || event.has_accepted()) return;
  if (terminal_) {
    if (now - last_shown_ < kRedrawSeconds && !event.has_chunk() && !event.has_finished()) return;
    last_shown_ = now;
    // To the line's beginning, and what is left of the old line erased.
    std::fprintf(stderr, "\r%s\033[K", ProgressLine(story, now, kBarWidth).c_str());
    std::fflush(stderr);
    open_ = true;
  } else if (event.has_waiting() || event.has_chunk()) {
    if (event.has_chunk() && event.chunk().part() + 1 < event.chunk().part_count()) return;
    std::fprintf(stderr, "%s\n", ProgressLine(story, now, kBarWidth).c_str());
  }
}

void ProgressBar::Close() {
  if (open_) std::fprintf(stderr, "\n");
  open_ = false;
}

}  // namespace longtake::client
