#include "server/store/s3/credentials.h"

#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace longtake::server {

absl::StatusOr<AwsCredentials> ParseCredentials(const std::string& text) {
  AwsCredentials credentials;
  bool ours = true;
  for (const absl::string_view each : absl::StrSplit(text, '\n')) {
    const absl::string_view line = absl::StripAsciiWhitespace(each);
    if (line.empty() || line[0] == '#' || line[0] == ';') continue;
    if (line[0] == '[') {
      ours = line == "[default]";
      continue;
    }
    const std::pair<absl::string_view, absl::string_view> parts = absl::StrSplit(line, absl::MaxSplits('=', 1));
    const absl::string_view name = absl::StripAsciiWhitespace(parts.first);
    const std::string value(absl::StripAsciiWhitespace(parts.second));
    if (!ours) continue;
    // A header has them, and ends with its line.
    for (const char c : value) {
      if (absl::ascii_iscntrl(c)) return absl::InvalidArgumentError(absl::StrCat(name, " has a control character"));
    }
    if (name == "aws_access_key_id") credentials.key_id = value;
    if (name == "aws_secret_access_key") credentials.secret = value;
    if (name == "aws_session_token") credentials.session_token = value;
  }
  if (credentials.key_id.empty()) return absl::InvalidArgumentError("aws_access_key_id is missing");
  if (credentials.secret.empty()) return absl::InvalidArgumentError("aws_secret_access_key is missing");
  return credentials;
}

absl::StatusOr<AwsCredentials> ReadCredentials(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return absl::NotFoundError(absl::StrCat(file, ": cannot be read"));
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  absl::StatusOr<AwsCredentials> credentials = ParseCredentials(text);
  if (credentials.ok()) return credentials;
  return absl::InvalidArgumentError(absl::StrCat(file, ": ", credentials.status().message()));
}

}  // namespace longtake::server
