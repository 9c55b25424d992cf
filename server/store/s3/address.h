// Where the objects of a store are.
#ifndef LONGTAKE_SERVER_STORE_S3_ADDRESS_H_
#define LONGTAKE_SERVER_STORE_S3_ADDRESS_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace longtake::server {

inline constexpr char kS3Scheme[] = "s3://";

struct S3Address {
  std::string bucket, prefix;  // the prefix without slashes at its ends; empty: there is none
  std::string scheme, host;    // the host with a port that is not the scheme's
  std::string path;            // before each key: "/", or "/bucket/"
};

// `url`: "s3://bucket/prefix". `endpoint`: "https://host:port", whose buckets are in the path, for a service of one's
// own seldom has a name for each bucket. Without one the bucket is in the name of Amazon's host, unless it has a dot,
// for which that host has no certificate. InvalidArgument says which of the two is wrong.
absl::StatusOr<S3Address> ParseS3Address(absl::string_view url, absl::string_view endpoint, const std::string& region);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_STORE_S3_ADDRESS_H_
