// Who watches a video over HTTP, and what follows from that for its answers: a caller of the video's tenant, anybody
// where nobody is asked who they are, or whoever has a viewing link.
#ifndef LONGTAKE_SERVER_HTTP_VIEWING_H_
#define LONGTAKE_SERVER_HTTP_VIEWING_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "server/http/http.h"

namespace longtake::server {

struct Viewer {
  std::string link;                                // by which it watches; empty: by no link
  bool everybody = false;                          // may see what it sees
  absl::Duration left = absl::InfiniteDuration();  // until its link expires

  // Cache-Control of what stays as it is for so long. Caches that many callers share may keep what everybody may see,
  // and no cache keeps anything for longer than the link holds.
  std::string CacheFor(absl::Duration time) const;
};

// A path behind "/v1/" that is of one video.
struct VideoPath {
  std::string name;    // "videos/{id}"
  std::string action;  // behind it, as in "stream.mp4"; may be empty
};
std::optional<VideoPath> ParseVideoPath(const std::string& path);

// Whether the request only watches the video: what a link permits.
bool OnlyWatches(const HttpRequest& request, const std::string& action);

// The stream until `expired` says yes, and cut there. That is noticed within a second.
std::shared_ptr<HttpStream> UntilExpired(std::shared_ptr<HttpStream> stream, std::function<bool()> expired);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_HTTP_VIEWING_H_
