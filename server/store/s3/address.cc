#include "server/store/s3/address.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/status_macros.h"
#include "server/store/names.h"

namespace longtake::server {
namespace {

bool IsBucket(absl::string_view name) {
  return name.size() >= 3 && name.size() <= 63 && absl::ascii_isalnum(name.front()) &&
         absl::ascii_isalnum(name.back()) && std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-' || c == '.';
         });
}

// "host" or "host:port"; IPv6 in brackets.
bool IsHost(absl::string_view host) {
  return !host.empty() && std::all_of(host.begin(), host.end(), [](char c) {
    return absl::ascii_isalnum(c) || c == '-' || c == '.' || c == ':' || c == '[' || c == ']';
  });
}

absl::Status ParseEndpoint(absl::string_view endpoint, S3Address& address) {
  address.scheme = absl::ConsumePrefix(&endpoint, "https://")  ? "https"
                   : absl::ConsumePrefix(&endpoint, "http://") ? "http"
                                                               : "";
  endpoint = absl::StripSuffix(endpoint, "/");
  if (address.scheme.empty() || !IsHost(endpoint)) {
    return absl::InvalidArgumentError("store-endpoint: is not of the form https://host:port");
  }
  // A client does not send the scheme's own port, so it is not signed either.
  endpoint = absl::StripSuffix(endpoint, address.scheme == "https" ? ":443" : ":80");
  address.host = std::string(endpoint);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<S3Address> ParseS3Address(absl::string_view url, absl::string_view endpoint, const std::string& region) {
  S3Address address;
  if (!absl::ConsumePrefix(&url, kS3Scheme)) return absl::InvalidArgumentError("store: does not begin with s3://");
  const std::pair<absl::string_view, absl::string_view> parts = absl::StrSplit(url, absl::MaxSplits('/', 1));
  address.bucket = std::string(parts.first);
  address.prefix = std::string(absl::StripSuffix(parts.second, "/"));
  if (!IsBucket(address.bucket)) {
    return absl::InvalidArgumentError(absl::StrCat("store: \"", address.bucket, "\" is no name of a bucket"));
  }
  if (!address.prefix.empty()) RETURN_IF_ERROR(CheckName(address.prefix));
  const bool is_region = !region.empty() && std::all_of(region.begin(), region.end(), [](char c) {
    return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-';
  });
  if (!is_region) return absl::InvalidArgumentError("store-region: is no name of a region");
  if (!endpoint.empty()) {
    RETURN_IF_ERROR(ParseEndpoint(endpoint, address));
    address.path = absl::StrCat("/", address.bucket, "/");
    return address;
  }
  const std::string service =
      absl::StrCat("s3.", region, absl::StartsWith(region, "cn-") ? ".amazonaws.com.cn" : ".amazonaws.com");
  const bool in_path = absl::StrContains(address.bucket, '.');
  address.scheme = "https";
  address.host = in_path ? service : absl::StrCat(address.bucket, ".", service);
  address.path = in_path ? absl::StrCat("/", address.bucket, "/") : "/";
  return address;
}

}  // namespace longtake::server
