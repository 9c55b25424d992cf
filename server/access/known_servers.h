// Which callers are servers that share the store, and on whose behalf they call.
#ifndef LONGTAKE_SERVER_ACCESS_KNOWN_SERVERS_H_
#define LONGTAKE_SERVER_ACCESS_KNOWN_SERVERS_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/clock.h"
#include "server/access/access.h"
#include "spdlog/logger.h"

namespace longtake::server {

// Certificates by one of the authorities that have one DNS name, which no client's certificate may have. Thread-safe.
class KnownServers {
 public:
  // `authorities`: a file in PEM, which is read again when it changes; the error of the first reading names it. `clock`
  // and `logger` outlive it.
  static absl::StatusOr<std::unique_ptr<KnownServers>> Open(const std::string& authorities, const std::string& name,
                                                            const Clock* clock, spdlog::logger* logger);
  ~KnownServers();

  // Whether a caller with this certificate is one of the servers. `chain`: further certificates that it has shown,
  // among which there may be the first one. Both are PEM. That the caller has the key TLS has found out.
  bool Has(absl::string_view certificate, absl::string_view chain) const;

 private:
  struct Impl;
  explicit KnownServers(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// What is wrong with a server's own certificate, from which the other servers are to know it: `certificate` is by an
// authority of `authorities` and has the name, and `client_authorities` lets it in. All are files. InvalidArgument
// names the option.
absl::Status CheckOwnCertificate(const std::string& certificate, const std::string& client_authorities,
                                 const std::string& authorities, const std::string& name);

// A caller as one server names it to another: bytes.
std::string EncodeCaller(const Identity& caller);
// UNAUTHENTICATED: the bytes are none that EncodeCaller makes.
absl::StatusOr<Identity> DecodeCaller(absl::string_view bytes);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_ACCESS_KNOWN_SERVERS_H_
