// Whether bytes are text.
#ifndef LONGTAKE_COMMON_UTF8_H_
#define LONGTAKE_COMMON_UTF8_H_

#include <string_view>

namespace longtake {

bool IsUtf8(std::string_view text);

}  // namespace longtake

#endif  // LONGTAKE_COMMON_UTF8_H_
