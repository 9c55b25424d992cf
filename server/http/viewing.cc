#include "server/http/viewing.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace longtake::server {
namespace {

class ExpiringStream : public HttpStream {
 public:
  ExpiringStream(std::shared_ptr<HttpStream> stream, std::function<bool()> expired)
      : stream_(std::move(stream)), expired_(std::move(expired)) {}
  void Start(std::function<void()> more) override { stream_->Start(std::move(more)); }
  Step Next() override {
    if (expired_()) return {.ended = true, .cut = true};
    return stream_->Next();
  }
  void Written() override { stream_->Written(); }
  void Report() override { stream_->Report(); }
  bool Unread() override { return stream_->Unread(); }

 private:
  const std::shared_ptr<HttpStream> stream_;
  const std::function<bool()> expired_;
};

}  // namespace

std::string Viewer::CacheFor(absl::Duration time) const {
  const absl::Duration most = std::max(absl::ZeroDuration(), std::min(time, left));
  return absl::StrCat(everybody ? "public" : "private", ", max-age=", absl::ToInt64Seconds(most));
}

std::optional<VideoPath> ParseVideoPath(const std::string& path) {
  absl::string_view rest = path;
  if (!absl::ConsumePrefix(&rest, "videos/")) return std::nullopt;
  const size_t slash = rest.find('/');
  return VideoPath{.name = absl::StrCat("videos/", rest.substr(0, slash)),
                   .action = slash == absl::string_view::npos ? "" : std::string(rest.substr(slash + 1))};
}

bool OnlyWatches(const HttpRequest& request, const std::string& action) {
  if (request.method != "GET") return false;
  for (const char* known : {"", "watch", "stream.mp4", "content", "index.m3u8", "init.mp4"}) {
    if (action == known) return true;
  }
  return absl::StartsWith(action, "block-");
}

std::shared_ptr<HttpStream> UntilExpired(std::shared_ptr<HttpStream> stream, std::function<bool()> expired) {
  return std::make_shared<ExpiringStream>(std::move(stream), std::move(expired));
}

}  // namespace longtake::server
