#include "tests/fuzz/check.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace longtake::fuzz {

Input SplitKind(std::string_view text) {
  const size_t end = std::min(text.find('\n'), text.size());
  return {.kind = text.substr(0, end), .rest = text.substr(std::min(end + 1, text.size()))};
}

void Check(bool holds, std::string_view message) {
  if (holds) return;
  std::fprintf(stderr, "fuzz: %.*s\n", static_cast<int>(message.size()), message.data());
  std::abort();
}

}  // namespace longtake::fuzz
