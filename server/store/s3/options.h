// A store in a bucket of S3, or of a service that speaks its protocol.
#ifndef LONGTAKE_SERVER_STORE_S3_OPTIONS_H_
#define LONGTAKE_SERVER_STORE_S3_OPTIONS_H_

#include <string>

#include "absl/time/time.h"
#include "server/store/s3/credentials.h"

namespace longtake::server {

struct S3Options {
  std::string endpoint = {};                 // "https://host:port" of the service; empty: Amazon's for the region
  std::string region = "us-east-1";          // many other services take any
  std::string credentials_file = {};         // as the AWS tools have it; empty: `credentials` alone
  AwsCredentials credentials = {};           // used where there is no file
  std::string authorities = {};              // of the endpoint's certificate, PEM; empty: the system's
  absl::Duration retry = absl::Seconds(20);  // a write that fails is tried again for so long
  absl::Duration stall = absl::Seconds(10);  // a request in which nothing moves for so long has failed
  int page_keys = 1000;                      // that one page of a list has; S3 allows no more
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_STORE_S3_OPTIONS_H_
