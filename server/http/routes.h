// What the HTTP port has for viewers and for programs: videos in JSON, as growing responses and as HLS, and the page.
#ifndef LONGTAKE_SERVER_HTTP_ROUTES_H_
#define LONGTAKE_SERVER_HTTP_ROUTES_H_

#include <functional>
#include <memory>
#include <string>

#include "server/access/access.h"
#include "server/access/viewing_links.h"
#include "server/http/http.h"
#include "server/http/pass_on.h"
#include "server/http/viewing.h"
#include "server/telemetry/metrics.h"
#include "server/video/studio_slot.h"

namespace longtake::server {

class CallLog;
struct CallRecord;

struct RouteOptions {
  bool page = true;               // at "/"
  std::string allow_origin = {};  // pages of this origin may use the port ("*": all); empty: those of the port's own
};

// Who is asking, by the Authorization header. UNAUTHENTICATED.
absl::StatusOr<Identity> Identify(const Authenticator& authenticator, const HttpRequest& request);

class Routes {
 public:
  // All pointers outlive it, and it outlives what it answers. `ready`: whether new work is taken.
  Routes(const RouteOptions& options, StudioSlot* studio, HttpPeers* peers, const Authenticator* authenticator,
         const ViewingLinks* links, Quotas* quotas, Metrics* metrics, const CallLog* calls, std::function<bool()> ready)
      : options_(options),
        peers_(peers),
        studio_(studio),
        authenticator_(authenticator),
        links_(links),
        quotas_(quotas),
        metrics_(metrics),
        calls_(calls),
        ready_(std::move(ready)) {}

  void Handle(const HttpRequest& request, std::shared_ptr<HttpResponder> responder);

 private:
  using Responder = std::shared_ptr<HttpResponder>;
  // A request that may go on.
  struct Visit {
    Tenant tenant;
    Viewer viewer;
    ViewingGrant grant;  // where the viewer has a link
    std::shared_ptr<Studio> studio;
    std::shared_ptr<CallRecord> call;
  };
  // `rest`, here and below: the path behind "/v1/".
  absl::StatusOr<Visit> Enter(const HttpRequest& request, const std::string& rest,
                              const std::shared_ptr<CallRecord>& call) const;
  // Fills in all but the studio. UNAUTHENTICATED or LINK_EXPIRED.
  absl::Status Admit(const HttpRequest& request, const std::string& rest, Visit& visit) const;
  bool OriginMay(const HttpRequest& request) const;
  void HandleApi(const Visit& visit, const HttpRequest& request, const std::string& rest, const Responder& responder);
  void HandleVideo(const Visit& visit, const HttpRequest& request, const std::shared_ptr<Video>& video,
                   const std::string& action, const Responder& responder);
  void List(const Visit& visit, const HttpRequest& request, const Responder& responder) const;
  void Create(const Visit& visit, const HttpRequest& request, const Responder& responder);
  void Quote(const Visit& visit, const HttpRequest& request, const Responder& responder) const;
  void Fork(const Visit& visit, const HttpRequest& request, const std::string& name, const Responder& responder);
  void ChangePrompt(const Visit& visit, const HttpRequest& request, const std::string& name,
                    const Responder& responder) const;
  void ReportPlayback(const Visit& visit, const HttpRequest& request, const std::string& name,
                      const Responder& responder) const;
  void MakeLink(const Visit& visit, const HttpRequest& request, const std::string& name,
                const Responder& responder) const;
  void Stream(const Visit& visit, const HttpRequest& request, const std::shared_ptr<Video>& video, bool events,
              const Responder& responder) const;
  // Answers with a video that was created, or says why none was.
  std::function<void(const absl::StatusOr<std::shared_ptr<Video>>&)> Created(const Visit& visit,
                                                                             const HttpRequest& request,
                                                                             const Responder& responder);

  const RouteOptions options_;
  HttpPeers* const peers_;
  StudioSlot* const studio_;
  const Authenticator* const authenticator_;
  const ViewingLinks* const links_;
  Quotas* const quotas_;
  Metrics* const metrics_;
  const CallLog* const calls_;
  const std::function<bool()> ready_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_HTTP_ROUTES_H_
