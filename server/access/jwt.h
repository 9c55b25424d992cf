// JSON Web Tokens: whose they are, and whether they hold.
#ifndef LONGTAKE_SERVER_ACCESS_JWT_H_
#define LONGTAKE_SERVER_ACCESS_JWT_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/access/access.h"
#include "server/access/json_web_keys.h"

namespace longtake::server {

// Unauthenticated says what is wrong, without any of the token. Checked are the signature, `exp` (which must be there)
// and `nbf` with a minute for clocks that differ, `iss`, `aud`, and that the tenant's claim is a name. `sub` is the
// caller's name.
absl::StatusOr<Identity> VerifyJwt(const std::string& token, const JsonWebKeys& keys, const JwtOptions& options,
                                   absl::Time now);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_ACCESS_JWT_H_
