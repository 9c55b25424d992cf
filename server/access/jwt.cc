#include "server/access/jwt.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/json_depth.h"
#include "server/access/plain_name.h"

namespace longtake::server {
namespace {

using nlohmann::json;

// Clocks of machines that are set over the network differ by less.
constexpr absl::Duration kLeeway = absl::Seconds(60);
// Above what providers issue; bounds the work for one that nobody has issued.
constexpr size_t kMaxBytes = 16 << 10;

absl::Status Refused(const std::string& why) { return absl::UnauthenticatedError(absl::StrCat("the token ", why)); }

// The JSON object in one part of a token; null where it is none.
json Decode(const std::string& part) {
  std::string text;
  if (!absl::WebSafeBase64Unescape(part, &text) || JsonNestsDeeper(text)) return nullptr;
  json parsed = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) return nullptr;
  return parsed;
}

bool Is(const json& value, const std::string& wanted) { return value.is_string() && value == wanted; }

bool Contains(const json& value, const std::string& wanted) {
  if (!value.is_array()) return Is(value, wanted);
  return std::any_of(value.begin(), value.end(), [&wanted](const json& each) { return Is(each, wanted); });
}

// A moment in seconds since 1970, with fractions where the issuer likes them.
absl::Time Moment(const json& value) { return absl::UnixEpoch() + absl::Seconds(value.get<double>()); }

}  // namespace

absl::StatusOr<Identity> VerifyJwt(const std::string& token, const JsonWebKeys& keys, const JwtOptions& options,
                                   absl::Time now) {
  const std::vector<std::string> parts = absl::StrSplit(token, '.');
  if (token.size() > kMaxBytes || parts.size() != 3) return Refused("is not known");
  const json header = Decode(parts[0]);
  if (header.is_null() || !header.contains("alg") || !header["alg"].is_string()) return Refused("is not known");
  // What is named there changes how a token is to be read, so one that cannot be read so must be refused (RFC 7515).
  if (header.contains("crit")) return Refused("has a critical header that this server does not know");
  const std::string kid = header.contains("kid") && header["kid"].is_string() ? header["kid"] : "";
  if (!keys.Verify(token, header["alg"], kid)) return Refused("is not signed by a key of this server");

  const json claims = Decode(parts[1]);
  if (claims.is_null()) return Refused("has no claims");
  const auto claim = [&claims](const std::string& name) { return claims.contains(name) ? claims[name] : json(); };
  if (!claim("exp").is_number()) return Refused("does not say when it ends (exp)");
  if (now >= Moment(claim("exp")) + kLeeway) return Refused("has expired");
  if (claims.contains("nbf") && (!claim("nbf").is_number() || now < Moment(claim("nbf")) - kLeeway)) {
    return Refused("does not hold yet (nbf)");
  }
  if (!Is(claim("iss"), options.issuer)) return Refused("is of another issuer (iss)");
  if (!Contains(claim("aud"), options.audience)) return Refused("is for another audience (aud)");
  const json tenant = claim(options.tenant_claim), name = claim("sub");
  if (!tenant.is_string() || !IsPlainName(tenant.get<std::string>())) {
    return Refused(absl::StrCat("names no tenant (", options.tenant_claim, ")"));
  }
  Identity identity{.tenant = {tenant.get<std::string>()}};
  if (name.is_string() && IsPlainName(name.get<std::string>())) identity.name = name;
  return identity;
}

}  // namespace longtake::server
