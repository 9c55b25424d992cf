// How deep a JSON text nests, found before it is parsed. nlohmann parses any depth, but copies and prints values by
// recursion: 16 KB of brackets, which a token may have, can overflow a thread's stack.
#ifndef LONGTAKE_COMMON_JSON_DEPTH_H_
#define LONGTAKE_COMMON_JSON_DEPTH_H_

#include <string_view>

namespace longtake {

// Deeper than anything that we or a program we know write, and harmless to recurse over.
inline constexpr int kMostJsonLevels = 64;

// Whether objects and lists are inside each other more than `most` times. Right for every text up to where it stops
// being JSON, and so for all that a parser makes a value of.
bool JsonNestsDeeper(std::string_view text, int most = kMostJsonLevels);

}  // namespace longtake

#endif  // LONGTAKE_COMMON_JSON_DEPTH_H_
