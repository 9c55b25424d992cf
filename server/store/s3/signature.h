// AWS Signature Version 4, in headers.
//
// libcurl signs too (CURLOPT_AWS_SIGV4), but takes the time from the clock, so that what it does cannot be compared
// with the published examples.
#ifndef LONGTAKE_SERVER_STORE_S3_SIGNATURE_H_
#define LONGTAKE_SERVER_STORE_S3_SIGNATURE_H_

#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/store/s3/credentials.h"

namespace longtake::server {

struct AwsRequest {
  std::string method, host;                       // the host as in the header Host, with a port that is not the default
  std::string path;                               // encoded
  std::map<std::string, std::string> query = {};  // not encoded
  std::map<std::string, std::string> headers = {};  // by names in lower case, without Host
  std::string body_sha256 = {};                     // in hexadecimal
};

// All headers of the signed request, "name: value" each: those given, the host, the date, the body's sum, the token and
// the signature.
std::vector<std::string> SignedHeaders(const AwsRequest& request, const AwsCredentials& credentials,
                                       const std::string& region, absl::Time now);

// As it stands in the URL: sorted and encoded, without a '?'.
std::string EncodedQuery(const std::map<std::string, std::string>& query);
// In hexadecimal.
std::string Sha256(absl::string_view bytes);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_STORE_S3_SIGNATURE_H_
