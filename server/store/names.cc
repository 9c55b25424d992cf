#include "server/store/names.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace longtake::server {

absl::Status CheckName(const std::string& name) {
  for (const absl::string_view part : absl::StrSplit(name, '/')) {
    const bool fit = !part.empty() && part != "." && part != ".." && std::all_of(part.begin(), part.end(), [](char c) {
      return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-';
    });
    if (!fit) return absl::InvalidArgumentError(absl::StrCat("store: \"", name, "\" is no name of a file"));
  }
  return absl::OkStatus();
}

}  // namespace longtake::server
