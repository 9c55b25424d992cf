// Keys of the AWS protocols, and the file that has them.
#ifndef LONGTAKE_SERVER_STORE_S3_CREDENTIALS_H_
#define LONGTAKE_SERVER_STORE_S3_CREDENTIALS_H_

#include <string>

#include "absl/status/statusor.h"

namespace longtake::server {

struct AwsCredentials {
  std::string key_id, secret;
  std::string session_token = {};  // of keys that end after some hours; empty: these do not

  bool operator==(const AwsCredentials&) const = default;
};

// Of lines `name = value` with aws_access_key_id, aws_secret_access_key and maybe aws_session_token, in the section
// [default] or before any. Other names and sections are passed over. InvalidArgument says what is missing, and has
// nothing of the text.
absl::StatusOr<AwsCredentials> ParseCredentials(const std::string& text);
// NotFound: it cannot be read; others name the file too.
absl::StatusOr<AwsCredentials> ReadCredentials(const std::string& file);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_STORE_S3_CREDENTIALS_H_
