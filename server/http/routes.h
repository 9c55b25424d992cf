// What the HTTP port has for viewers and for programs: videos in JSON, as growing responses and as HLS, and the page.
#ifndef LONGTAKE_SERVER_HTTP_ROUTES_H_
#define LONGTAKE_SERVER_HTTP_ROUTES_H_

#include <functional>
#include <memory>
#include <string>

#include "server/http/http.h"
#include "server/telemetry/metrics.h"
#include "server/video/studio_slot.h"

namespace longtake::server {

struct RouteOptions {
  bool page = true;          // at "/"
  std::string allow_origin;  // pages of this origin may use the port ("*": all); empty: those of the port's own
};

class Routes {
 public:
  // Both outlive it, and it outlives what it answers. `ready`: whether new work is taken.
  Routes(const RouteOptions& options, StudioSlot* studio, Metrics* metrics, std::function<bool()> ready)
      : options_(options), studio_(studio), metrics_(metrics), ready_(std::move(ready)) {}

  void Handle(const HttpRequest& request, std::shared_ptr<HttpResponder> responder);

 private:
  using Responder = std::shared_ptr<HttpResponder>;
  // `rest`: the path behind "/v1/".
  void HandleApi(Studio& studio, const HttpRequest& request, const std::string& rest, const Responder& responder);
  void HandleVideo(Studio& studio, const HttpRequest& request, const std::shared_ptr<Video>& video,
                   const std::string& action, const Responder& responder);
  void List(Studio& studio, const HttpRequest& request, const Responder& responder) const;
  void Create(Studio& studio, const HttpRequest& request, const Responder& responder);
  void Quote(Studio& studio, const HttpRequest& request, const Responder& responder) const;
  void Fork(Studio& studio, const HttpRequest& request, const std::string& name, const Responder& responder);
  void ChangePrompt(Studio& studio, const HttpRequest& request, const std::string& name,
                    const Responder& responder) const;
  void ReportPlayback(Studio& studio, const HttpRequest& request, const std::string& name,
                      const Responder& responder) const;
  void Stream(Studio& studio, const HttpRequest& request, const std::shared_ptr<Video>& video, bool events,
              const Responder& responder) const;
  static HttpAnswer Hls(Video& video, const std::string& file);
  // Answers with a video that was created, or says why none was.
  std::function<void(const absl::StatusOr<std::shared_ptr<Video>>&)> Created(const Responder& responder);

  const RouteOptions options_;
  StudioSlot* const studio_;
  Metrics* const metrics_;
  const std::function<bool()> ready_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_HTTP_ROUTES_H_
