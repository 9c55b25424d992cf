// What S3 answers, in XML and in status codes.
#ifndef LONGTAKE_SERVER_STORE_S3_ANSWERS_H_
#define LONGTAKE_SERVER_STORE_S3_ANSWERS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace longtake::server {

// A page of ListObjectsV2.
struct ListedPage {
  std::vector<std::string> keys;      // of objects
  std::vector<std::string> prefixes;  // up to the delimiter, of those that have it
  std::string next;                   // continuation token; empty: this is the last page
};
// DataLoss: it is no such page.
absl::StatusOr<ListedPage> ParseListing(const std::string& xml);

// Of an answer whose status is no success. Empty where the body is no error of S3's, such as a proxy's page.
struct S3Error {
  std::string code, message;
};
S3Error ParseError(const std::string& xml);

// Whether the same request may succeed in a moment.
bool IsTransient(int status, const std::string& code);
// Whether other keys may be right: these have ended or were replaced.
bool IsOfOldKeys(int status, const std::string& code);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_STORE_S3_ANSWERS_H_
