#include "clients/cli/top/top.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "clients/cli/connect.h"
#include "clients/cli/interrupt.h"
#include "clients/cli/request.h"
#include "clients/cli/top/view.h"
#include "common/curl_client.h"
#include "common/mutex.h"
#include "common/status_macros.h"

namespace longtake::client {
namespace {

// A server that answers later than this is not well, which the view should say.
constexpr absl::Duration kTimeout = absl::Seconds(5);

// "host:port" is taken for http. A token goes in plain text to this machine only.
absl::StatusOr<std::string> CheckUrl(std::string url, bool has_token) {
  if (!absl::StrContains(url, "://")) url = "http://" + url;
  while (absl::EndsWith(url, "/")) url.pop_back();
  absl::string_view address = url;
  if (!absl::ConsumePrefix(&address, "http://")) return url;
  if (has_token && !IsLoopback(std::string(address))) {
    return absl::InvalidArgumentError(absl::StrCat("--metrics: the token is not sent to ", address,
                                                   " in plain text: name it by https, or use a tunnel"));
  }
  return url;
}

absl::StatusOr<std::string> Ask(CurlClient& client, const std::string& url, const std::vector<std::string>& headers) {
  ASSIGN_OR_RETURN(CurlClient::Answer answer, client.Get(url, headers));
  if (answer.status == 200) return std::move(answer.body);
  return absl::UnavailableError(
      absl::StrCat(url, ": ", answer.status, " ", absl::StripAsciiWhitespace(answer.body.substr(0, 500))));
}

absl::StatusOr<Sample> Take(CurlClient& client, const std::string& url, const std::vector<std::string>& headers) {
  ASSIGN_OR_RETURN(const std::string metrics, Ask(client, url + "/metrics", headers));
  ASSIGN_OR_RETURN(const std::string status, Ask(client, url + "/status", headers));
  return ParseSample(absl::Now(), metrics, status);
}

// A terminal's other screen, which is left as it was found. One write for each view, without clearing first: nothing
// flickers.
class Screen {
 public:
  explicit Screen(bool terminal) : terminal_(terminal) {
    if (terminal_) Write("\033[?1049h\033[?25l");  // the other screen, no cursor
  }
  ~Screen() {
    if (terminal_) Write("\033[?25h\033[?1049l");
  }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  ViewSize size() const {
    winsize window = {};
    if (!terminal_ || ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) != 0) return {};
    return {.columns = window.ws_col, .rows = window.ws_row};
  }
  void Show(const std::vector<std::string>& lines) {
    std::string text = terminal_ ? "\033[H" : "";  // to the corner
    for (size_t i = 0; i < lines.size(); ++i) {
      // The rest of what stood in the line before goes. The last line has no end, or the screen would roll.
      absl::StrAppend(&text, lines[i], terminal_ ? "\033[K" : "", terminal_ && i + 1 == lines.size() ? "" : "\n");
    }
    absl::StrAppend(&text, terminal_ ? "\033[J" : "\n");
    Write(text);
  }

 private:
  static void Write(const std::string& text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  }
  const bool terminal_;
};

class Stop {
 public:
  void Set() {
    const MutexLock lock(mutex_);
    set_ = true;
    changed_.NotifyAll();
  }
  // Waits for so long at most; true: it is set.
  bool Await(absl::Duration limit) {
    MutexLock lock(mutex_);
    return changed_.WaitFor(lock, limit, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return set_; });
  }

 private:
  Mutex mutex_;
  ConditionVariable changed_;
  bool set_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

int Top(const TopFlags& flags) {
  Stop stop;
  CurlClient client(kTimeout);
  const Interrupt interrupt([&] {
    client.Abort();
    stop.Set();
  });
  const absl::StatusOr<Target> shown = ReadTarget({.token_file = flags.token_file, .token = flags.token});
  if (!shown.ok()) return Complain(std::string(shown.status().message()));
  const absl::StatusOr<std::string> url = CheckUrl(flags.metrics, !shown->token.empty());
  if (!url.ok()) return Complain(std::string(url.status().message()));
  std::vector<std::string> headers;
  if (!shown->token.empty()) headers.push_back("Authorization: Bearer " + shown->token);

  const absl::Duration interval = absl::Seconds(flags.interval);
  std::optional<Screen> screen;
  std::optional<Sample> before;
  for (bool first = true; first || !stop.Await(interval); first = false) {
    absl::StatusOr<Sample> sample = Take(client, *url, headers);
    // A server that is not there yet is an error; one that goes for a while is not.
    if (!sample.ok() && (first || flags.once)) return Complain(std::string(sample.status().message()));
    if (first && flags.once) {
      before = *std::move(sample);  // shares and rates need a second one
      continue;
    }
    if (!screen.has_value()) screen.emplace(!flags.once && isatty(STDOUT_FILENO) == 1);
    if (!sample.ok()) {
      screen->Show({std::string(sample.status().message())});
      before.reset();
      continue;
    }
    screen->Show(View(before.has_value() ? &*before : nullptr, *sample, screen->size()));
    before = *std::move(sample);
    if (flags.once) break;
  }
  return 0;
}

}  // namespace longtake::client
