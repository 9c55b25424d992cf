#include "engine/models/text/unicode.h"

#include <unicode/locid.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/ustring.h>
#include <unicode/utf8.h>

#include <cstdint>
#include <limits>
#include <vector>

namespace longtake {

size_t NextCharacter(std::string_view text, size_t begin) {
  size_t end = begin;
  U8_FWD_1(reinterpret_cast<const uint8_t*>(text.data()), end, text.size());
  return end;
}

absl::StatusOr<std::string> StripText(std::string_view text, bool lower_case) {
  // A UTF-8 character never has more UTF-16 units than bytes. ICU counts units in int32_t.
  if (text.size() > std::numeric_limits<int32_t>::max() / 4) return absl::InvalidArgumentError("prompt is too long");
  std::vector<UChar> units(text.size() + 1);
  int32_t length = 0;
  UErrorCode error = U_ZERO_ERROR;
  u_strFromUTF8(units.data(), static_cast<int32_t>(units.size()), &length, text.data(),
                static_cast<int32_t>(text.size()), &error);
  if (U_FAILURE(error)) return absl::InvalidArgumentError("prompt is not valid UTF-8");
  // All whitespace lies in the basic plane, so each character is one unit. u_isspace is true for the same 29 characters
  // as Python's str.isspace(): the separators, and the controls U+0009-000D, U+001C-001F and U+0085.
  int32_t begin = 0;
  while (begin < length && u_isspace(units[begin])) ++begin;
  while (length > begin && u_isspace(units[length - 1])) --length;
  icu::UnicodeString string(units.data() + begin, length - begin);
  // The root locale has the full mapping, including final sigma.
  if (lower_case) string.toLower(icu::Locale::getRoot());
  std::string out;
  string.toUTF8String(out);
  return out;
}

}  // namespace longtake
