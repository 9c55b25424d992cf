#include "engine/core/system_files.h"

#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace longtake {
namespace {

constexpr int kMaxCpu = 1 << 16;  // more than any machine has; a list that names more is malformed

absl::string_view FirstWord(absl::string_view text) {
  text = absl::StripLeadingAsciiWhitespace(text);
  return text.substr(0, text.find_first_of(" \t\n"));
}

}  // namespace

std::optional<std::string> ReadSystemFile(const std::string& path) {
  std::ifstream file(path);
  if (!file) return std::nullopt;
  std::stringstream text;
  text << file.rdbuf();
  std::string all = std::move(text).str();
  if (!all.empty() && all.back() == '\n') all.pop_back();
  return all;
}

std::optional<uint64_t> ReadSystemNumber(const std::string& path) {
  const std::optional<std::string> text = ReadSystemFile(path);
  uint64_t value = 0;
  if (!text.has_value() || !absl::SimpleAtoi(FirstWord(*text), &value)) return std::nullopt;
  return value;
}

std::optional<uint64_t> NumberBehind(absl::string_view text, absl::string_view key) {
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    uint64_t value = 0;
    if (line.substr(0, key.size()) == key && absl::SimpleAtoi(FirstWord(line.substr(key.size())), &value)) return value;
  }
  return std::nullopt;
}

uint64_t StatusBytes(const std::string& status_path, absl::string_view key) {
  constexpr uint64_t kKiB = 1024;
  return NumberBehind(ReadSystemFile(status_path).value_or(""), key).value_or(0) * kKiB;
}

std::vector<int> ParseCpuList(absl::string_view text) {
  std::vector<int> cpus;
  for (const absl::string_view range : absl::StrSplit(absl::StripAsciiWhitespace(text), ',', absl::SkipEmpty())) {
    const std::vector<absl::string_view> ends = absl::StrSplit(range, '-');
    int first = 0, last = 0;
    if (ends.size() > 2 || !absl::SimpleAtoi(ends.front(), &first) || !absl::SimpleAtoi(ends.back(), &last)) continue;
    if (first < 0 || last >= kMaxCpu) continue;
    for (int cpu = first; cpu <= last; ++cpu) cpus.push_back(cpu);
  }
  return cpus;
}

}  // namespace longtake
