#include "common/percent_encoding.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"

namespace longtake {
namespace {

bool IsUnreserved(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '.' || c == '_' || c == '~';
}

}  // namespace

std::string PercentEncoded(absl::string_view text, absl::string_view kept) {
  std::string out;
  for (const char c : text) {
    if (IsUnreserved(c) || kept.find(c) != absl::string_view::npos) {
      out += c;
    } else {
      absl::StrAppendFormat(&out, "%%%02X", static_cast<unsigned char>(c));
    }
  }
  return out;
}

}  // namespace longtake
