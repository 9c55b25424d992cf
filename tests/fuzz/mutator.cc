#include "tests/fuzz/mutator.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_split.h"

namespace longtake::fuzz {
namespace {

// An input does not grow beyond this by being mutated again and again: what takes quadratic time would take minutes.
constexpr size_t kMostBytes = 64 << 10;

// Numbers at the ends of types, in the spelling of JSON and of URLs.
constexpr std::array<std::string_view, 14> kNumbers = {
    "0",   "-1",    "1",      "2147483647",          "-2147483648",          "4294967296",
    "1e9", "1e300", "-1e300", "9223372036854775807", "-9223372036854775808", "18446744073709551616",
    "0.5", "null"};

constexpr std::array<unsigned char, 8> kBytes = {0x00, 0x01, 0x7f, 0x80, 0xff, '"', '\\', '\n'};

}  // namespace

size_t Mutator::Below(size_t end) { return end == 0 ? 0 : random_() % end; }

std::string Mutator::SomeBytes() {
  switch (Below(4)) {
    case 0:
      return std::string(kNumbers[Below(kNumbers.size())]);
    case 1:
      if (!words_.empty()) return words_[Below(words_.size())];
      [[fallthrough]];
    case 2:
      if (!corpus_.empty()) {
        const std::string& other = corpus_[Below(corpus_.size())];
        return other.substr(Below(other.size()), 1 + Below(64));
      }
      [[fallthrough]];
    default:
      return std::string(1 + Below(8), static_cast<char>(kBytes[Below(kBytes.size())]));
  }
}

void Mutator::Change(std::string& text) {
  const size_t at = Below(text.size()), length = std::min(text.size() - at, 1 + Below(32));
  switch (Below(7)) {
    case 0:
      if (!text.empty()) text[at] = static_cast<char>(text[at] ^ (1 << Below(8)));
      return;
    case 1:
      if (!text.empty()) text[at] = static_cast<char>(kBytes[Below(kBytes.size())]);
      return;
    case 2:
      text.erase(at, length);
      return;
    case 3:
      text.insert(at, text.substr(at, length));
      return;
    case 4:
      text.insert(at, SomeBytes());
      return;
    case 5:
      text.replace(at, length, SomeBytes());
      return;
    default: {
      // The number behind this place is replaced whole: a digit alone seldom leaves its range.
      size_t begin = at;
      while (begin < text.size() && !absl::ascii_isdigit(static_cast<unsigned char>(text[begin]))) ++begin;
      size_t end = begin;
      while (end < text.size() && absl::ascii_isdigit(static_cast<unsigned char>(text[end]))) ++end;
      text.replace(begin, end - begin, kNumbers[Below(kNumbers.size())]);
    }
  }
}

std::string Mutator::Mutate(std::string input) {
  const size_t changes = 1 + Below(4);
  for (size_t i = 0; i < changes; ++i) Change(input);
  if (input.size() > kMostBytes) input.resize(kMostBytes);
  return input;
}

std::vector<std::string> ParseDictionary(const std::string& text) {
  std::vector<std::string> words;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    if (absl::StripAsciiWhitespace(line).substr(0, 1) == "#") continue;
    const size_t begin = line.find('"'), end = line.rfind('"');
    std::string word;
    if (begin < end && end != absl::string_view::npos &&
        absl::CUnescape(line.substr(begin + 1, end - begin - 1), &word))
      words.push_back(std::move(word));
  }
  return words;
}

}  // namespace longtake::fuzz
