// Viewing links: whoever has one may watch one video until a moment, and do nothing else.
#ifndef LONGTAKE_SERVER_ACCESS_VIEWING_LINKS_H_
#define LONGTAKE_SERVER_ACCESS_VIEWING_LINKS_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "server/video/tenant.h"
#include "spdlog/logger.h"

namespace longtake::server {

struct LinkOptions {
  std::string keys;  // a file that LinkKeys describes; empty: no links are made, and none is accepted
  // A link cannot be taken back but with its key, so none holds for longer.
  absl::Duration longest = absl::Hours(7 * 24);
};

// What a link gives to whoever has it.
struct ViewingGrant {
  Tenant tenant;  // whose video it is
  absl::Time expires;
};

// Thread-safe. Nothing is kept of a link: the link itself holds all of it, signed, so every server that has the key
// accepts it. The file is read again as the Authenticator's are.
class ViewingLinks {
 public:
  struct Link {
    std::string text;  // of A-Z, a-z, 0-9, '-' and '_'
    absl::Time expires;
  };

  // An error names the option, or the file and its line. `asks_callers`: the server asks callers who they are; where it
  // does not, links would protect nothing, and keys for them are an error. `clock` says when to look at the file, `now`
  // is what links' times are compared with. `clock` and `logger` outlive it.
  static absl::StatusOr<std::unique_ptr<ViewingLinks>> Open(const LinkOptions& options, bool asks_callers,
                                                            const Clock* clock, spdlog::logger* logger,
                                                            std::function<absl::Time()> now = absl::Now);
  ~ViewingLinks();

  // A link to `video`, "videos/{id}", which is the tenant's. It holds for the duration, 1 s or more, rounded up to
  // whole seconds; without one for a day, or for the longest if that is less. InvalidRequest: the field is "duration".
  // LINKS_UNAVAILABLE: the server has no keys for them, or needs none.
  absl::StatusOr<Link> Make(const Tenant& tenant, const std::string& video,
                            std::optional<absl::Duration> duration) const;

  // LINK_EXPIRED. UNAUTHENTICATED: it is no link, or one to another video, or its key is gone.
  absl::StatusOr<ViewingGrant> Verify(const std::string& video, absl::string_view link) const;
  bool Expired(const ViewingGrant& grant) const { return grant.expires <= now(); }
  absl::Time now() const;

  // Somebody watches the video by a link. Logs that, and nothing of the link.
  void OnUsed(const std::string& video) const;

 private:
  struct Impl;
  explicit ViewingLinks(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_ACCESS_VIEWING_LINKS_H_
