#include "server/store/s3/signature.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include <array>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/percent_encoding.h"

namespace longtake::server {
namespace {

constexpr char kService[] = "s3", kAlgorithm[] = "AWS4-HMAC-SHA256";

std::string Hmac(const std::string& key, absl::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out;
  unsigned int size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(text.data()),
       text.size(), out.data(), &size);
  return {reinterpret_cast<const char*>(out.data()), size};
}

}  // namespace

std::string Sha256(absl::string_view bytes) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> out;
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), out.data());
  return absl::BytesToHexString({reinterpret_cast<const char*>(out.data()), out.size()});
}

std::string EncodedQuery(const std::map<std::string, std::string>& query) {
  return absl::StrJoin(query, "&", [](std::string* out, const auto& each) {
    absl::StrAppend(out, PercentEncoded(each.first), "=", PercentEncoded(each.second));
  });
}

std::vector<std::string> SignedHeaders(const AwsRequest& request, const AwsCredentials& credentials,
                                       const std::string& region, absl::Time now) {
  const absl::TimeZone utc = absl::UTCTimeZone();
  const std::string time = absl::FormatTime("%Y%m%dT%H%M%SZ", now, utc), day = time.substr(0, 8);
  std::map<std::string, std::string> headers = request.headers;
  headers["host"] = request.host;
  headers["x-amz-content-sha256"] = request.body_sha256;
  headers["x-amz-date"] = time;
  if (!credentials.session_token.empty()) headers["x-amz-security-token"] = credentials.session_token;

  std::vector<std::string> sent, names;
  std::string canonical_headers;
  for (const auto& [name, value] : headers) {
    absl::StrAppend(&canonical_headers, name, ":", value, "\n");
    names.push_back(name);
    sent.push_back(absl::StrCat(name, ": ", value));
  }
  const std::string signed_names = absl::StrJoin(names, ";");
  const std::string canonical = absl::StrJoin(
      {request.method, request.path, EncodedQuery(request.query), canonical_headers, signed_names, request.body_sha256},
      "\n");
  const std::string scope = absl::StrJoin({day, region, std::string(kService), std::string("aws4_request")}, "/");
  const std::string to_sign = absl::StrCat(kAlgorithm, "\n", time, "\n", scope, "\n", Sha256(canonical));
  const std::string key = Hmac(Hmac(Hmac(Hmac("AWS4" + credentials.secret, day), region), kService), "aws4_request");
  sent.push_back(absl::StrCat("authorization: ", kAlgorithm, " Credential=", credentials.key_id, "/", scope,
                              ",SignedHeaders=", signed_names,
                              ",Signature=", absl::BytesToHexString(Hmac(key, to_sign))));
  return sent;
}

}  // namespace longtake::server
