// Shows on stderr how a video comes along.
#ifndef LONGTAKE_CLIENTS_CLI_PROGRESS_BAR_H_
#define LONGTAKE_CLIENTS_CLI_PROGRESS_BAR_H_

#include <string>

#include "clients/cli/story.h"

namespace longtake::client {

// One line: bar, block, step, seconds of video made, speed against real time, time left. `now` as for Story.
std::string ProgressLine(const Story& story, double now, int bar_width);

// On a terminal one line that changes, at most ten times a second; elsewhere a line for each chunk.
class ProgressBar {
 public:
  ProgressBar(bool terminal, bool quiet) : terminal_(terminal), quiet_(quiet) {}
  void Show(const Story& story, const v1::WatchVideoResponse& event, double now);
  void Close();  // ends the line

 private:
  const bool terminal_, quiet_;
  bool open_ = false;
  double last_shown_ = -1;
};

}  // namespace longtake::client

#endif  // LONGTAKE_CLIENTS_CLI_PROGRESS_BAR_H_
