#include "server/telemetry/log_format.h"

#include <spdlog/pattern_formatter.h>

#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace longtake::server {
namespace {

using nlohmann::json;

constexpr char kTime[] = "%Y-%m-%dT%H:%M:%S.%e%z";

bool IsPlain(char c) {
  return absl::ascii_isalnum(c) || absl::string_view("_-./:@+").find(c) != absl::string_view::npos;
}

std::string Dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

// The type that JSON has for a word: a number, true, false, or text.
json Typed(absl::string_view word) {
  json value = json::parse(word.begin(), word.end(), nullptr, /*allow_exceptions=*/false);
  return value.is_number() || value.is_boolean() ? value : json(std::string(word));
}

// A word of a line, from `begin` on; a quoted value's blanks do not end it.
struct Word {
  size_t begin = 0;
  std::string name;  // empty: it is no field
  json value;
};

// Reads a quoted text whose first quote stands at `at`, and moves `at` behind its last one. False: it has none.
bool ReadQuoted(absl::string_view line, size_t& at, std::string& text) {
  for (size_t i = at + 1; i < line.size(); ++i) {
    if (line[i] == '"') {
      // LogValue escapes as JSON does.
      const json value = json::parse(line.begin() + at, line.begin() + i + 1, nullptr, /*allow_exceptions=*/false);
      if (!value.is_string()) return false;
      text = value.get<std::string>();
      at = i + 1;
      return true;
    }
    if (line[i] == '\\') ++i;
  }
  return false;
}

Word ReadWord(absl::string_view line, size_t& at) {
  Word word{.begin = at};
  size_t end = at;
  while (end < line.size() && (absl::ascii_isalnum(line[end]) || line[end] == '_')) ++end;
  if (end > at && end < line.size() && line[end] == '=') {
    size_t value = end + 1;
    std::string text;
    if (value < line.size() && line[value] == '"' && ReadQuoted(line, value, text) &&
        (value == line.size() || line[value] == ' ')) {
      word.name = std::string(line.substr(at, end - at));
      word.value = std::move(text);
      at = value;
      return word;
    }
    const size_t blank = std::min(line.find(' ', end), line.size());
    const absl::string_view bare = line.substr(end + 1, blank - end - 1);
    if (!bare.empty() && bare.find('"') == absl::string_view::npos) {
      word.name = std::string(line.substr(at, end - at));
      word.value = Typed(bare);
    }
  }
  at = std::min(line.find(' ', end), line.size());
  return word;
}

// Writes what was logged as one line, whatever it holds: a line that somebody forges would begin with a time.
class OneLine : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm& /*time*/, spdlog::memory_buf_t& out) override {
    for (const char c : message.payload) {
      if (absl::ascii_iscntrl(c)) {
        const std::string escaped = absl::StrFormat("\\x%02x", static_cast<unsigned char>(c));
        out.append(escaped.data(), escaped.data() + escaped.size());
      } else {
        out.push_back(c);
      }
    }
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<OneLine>(); }
};

class JsonFields : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm& /*time*/, spdlog::memory_buf_t& out) override {
    const std::string fields = LineToJson({message.payload.data(), message.payload.size()});
    out.append(fields.data(), fields.data() + fields.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<JsonFields>(); }
};

}  // namespace

std::string LogValue(absl::string_view text) {
  bool plain = !text.empty();
  for (const char c : text) plain = plain && IsPlain(c);
  return plain && Typed(text).is_string() ? std::string(text) : Dump(std::string(text));
}

std::string LineToJson(absl::string_view line) {
  std::vector<Word> words;
  for (size_t at = 0; at < line.size(); ++at) {  // over the blank behind a word
    if (line[at] == ' ') continue;
    words.push_back(ReadWord(line, at));
  }
  size_t first = words.size();
  while (first > 0 && !words[first - 1].name.empty()) --first;
  const size_t end = first == words.size() ? line.size() : words[first].begin;
  std::string out =
      absl::StrCat("\"message\":", Dump(std::string(absl::StripTrailingAsciiWhitespace(line.substr(0, end)))));
  for (size_t i = first; i < words.size(); ++i) {
    // A field of one of the line's own names keeps another one.
    const std::string& name = words[i].name;
    const bool own = name == "time" || name == "level" || name == "message";
    absl::StrAppend(&out, ",", Dump(own ? name + "_text" : name), ":", Dump(words[i].value));
  }
  return out;
}

std::unique_ptr<spdlog::formatter> MakeLogFormatter(LogFormat format) {
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  if (format == LogFormat::kJson) {
    formatter->add_flag<JsonFields>('*').set_pattern(absl::StrCat("{\"time\":\"", kTime, "\",\"level\":\"%l\",%*}"));
  } else {
    formatter->add_flag<OneLine>('*').set_pattern(absl::StrCat(kTime, " level=%l %*"));
  }
  return formatter;
}

}  // namespace longtake::server
