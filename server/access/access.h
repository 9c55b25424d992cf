// Who is asking, and what they may have. Others include this header of the room, with those that it names, and
// viewing_links.h.
#ifndef LONGTAKE_SERVER_ACCESS_ACCESS_H_
#define LONGTAKE_SERVER_ACCESS_ACCESS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "server/store/tenant_counters.h"
#include "server/telemetry/metrics.h"
#include "server/video/accounts.h"
#include "server/video/tenant.h"
#include "spdlog/logger.h"

namespace longtake::server {

struct Identity {
  Tenant tenant;
  std::string name;  // of the caller within the tenant; may be empty
};

// What a call brings to say who is asking.
struct Credentials {
  absl::string_view authorization;  // the header's value: "Bearer" and a token; empty: there is none
  absl::string_view certificate;    // the client's, as PEM, verified by TLS; empty: there is none
};

// JSON Web Tokens (RFC 7519) that an identity provider has signed.
struct JwtOptions {
  std::string keys;                     // a JWKS file (RFC 7517); empty: such tokens are not accepted
  std::string issuer;                   // what `iss` must be
  std::string audience;                 // what `aud` must be or contain
  std::string tenant_claim = "tenant";  // the claim that names the tenant
};

struct AccessOptions {
  std::string tokens;  // a file of tenants, names and SHA-256 sums of tokens; empty: there is none
  JwtOptions jwt;
  bool certificates = false;  // clients' certificates identify them
};

// Thread-safe. Files are read again when they have changed; one that has become wrong leaves what was known before in
// force and is logged, so that a slip of an editor locks nobody out.
class Authenticator {
 public:
  // An error names the option, or the file and its line. `clock` says when to look at the files, `now` is what tokens'
  // times are compared with. `clock` and `logger` outlive it.
  static absl::StatusOr<std::unique_ptr<Authenticator>> Open(const AccessOptions& options, const Clock* clock,
                                                             spdlog::logger* logger,
                                                             std::function<absl::Time()> now = absl::Now);
  ~Authenticator();

  // Nothing identifies callers, so everybody is the empty tenant.
  bool open() const;
  // UNAUTHENTICATED says what is missing or wrong, and never repeats any of it. A token counts before a certificate: a
  // wrong token is refused whatever the certificate says.
  absl::StatusOr<Identity> Identify(const Credentials& credentials) const;

 private:
  struct Impl;
  explicit Authenticator(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// What tenants may have. Thread-safe. The file is read again as the Authenticator's are; a limit that has become lower
// takes nothing away from those who have more.
class Quotas : public Accounts {
 public:
  // `path`: QuotaTable says what is in it; empty: nothing is limited. `max_waiting`: of which queue_share is a share,
  // of each delivery. `now`: by which hours are counted. All pointers outlive it.
  static absl::StatusOr<std::unique_ptr<Quotas>> Open(const std::string& path, int max_waiting, const Clock* clock,
                                                      Metrics* metrics, spdlog::logger* logger,
                                                      std::function<absl::Time()> now = absl::Now);
  ~Quotas() override;

  // Counts videos, device seconds and calls over all servers from now on. Once, before anything is asked. Where the
  // counters do not answer, this server's own count, and the log says so. Without `with_thread`, Exchange is the
  // caller's to call. ResourceExhausted: the system gives no thread. `counters` outlive it.
  absl::Status Share(TenantCounters* counters, bool with_thread = true);
  // Tells the counters what this server has let in and used since the last time, and learns what others have let in.
  void Exchange();

  // QUOTA_EXCEEDED from each of them names the quota, and says when to try again where time alone helps.
  absl::Status OnCall(const Tenant& tenant);
  // The watch lasts until the result is let go.
  absl::StatusOr<std::shared_ptr<void>> OpenWatch(const Tenant& tenant);

  // What tenants have at this server of what is limited for them; a share of the queue as a number of requests. Rates
  // are left out.
  struct Use {
    std::string tenant, quota;
    double used = 0, limit = 0;
  };
  std::vector<Use> uses() const;

  // Waits for shared counters, a second at most. Requests of one tenant that come at the same moment may wait beyond
  // its share: whether one waits is known when the scheduler has looked at it.
  absl::Status OnNew(uint64_t id, const Tenant& tenant, const std::string& video, scheduler::Delivery delivery,
                     bool restored) override;
  void OnWaiting(uint64_t id) override;
  void OnPlaced(uint64_t id) override;
  void OnUsed(uint64_t id, double device_seconds) override;
  void OnOver(uint64_t id) override;

 private:
  struct Impl;
  explicit Quotas(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_ACCESS_ACCESS_H_
