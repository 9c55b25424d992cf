// A client's certificate as an identity.
#ifndef LONGTAKE_SERVER_ACCESS_CERTIFICATE_H_
#define LONGTAKE_SERVER_ACCESS_CERTIFICATE_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/access/access.h"

namespace longtake::server {

// The subject's organisation (O) is the tenant, its common name (CN) the name. InvalidArgument: there is not exactly
// one organisation, or the text has control characters. Whether the certificate is to be trusted TLS has found out
// before.
absl::StatusOr<Identity> IdentityOfCertificate(absl::string_view pem);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_ACCESS_CERTIFICATE_H_
