#include "common/utf8.h"

#include <unicode/utf8.h>

#include <cstddef>
#include <cstdint>

namespace longtake {

bool IsUtf8(std::string_view text) {
  const auto* const bytes = reinterpret_cast<const uint8_t*>(text.data());
  for (size_t at = 0; at < text.size();) {
    UChar32 c;
    U8_NEXT(bytes, at, text.size(), c);
    if (c < 0) return false;
  }
  return true;
}

}  // namespace longtake
