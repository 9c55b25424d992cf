// Text as it stands in a URL.
#ifndef LONGTAKE_COMMON_PERCENT_ENCODING_H_
#define LONGTAKE_COMMON_PERCENT_ENCODING_H_

#include <string>

#include "absl/strings/string_view.h"

namespace longtake {

// All characters but the unreserved ones of RFC 3986, section 2.3, and those of `kept`, as %XX.
std::string PercentEncoded(absl::string_view text, absl::string_view kept = {});

}  // namespace longtake

#endif  // LONGTAKE_COMMON_PERCENT_ENCODING_H_
