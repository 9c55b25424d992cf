#include "server/http/message.h"

#include <algorithm>
#include <boost/beast/http/field.hpp>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace longtake::server {
namespace {

std::string Decoded(absl::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && absl::ascii_isxdigit(text[i + 1]) &&
        absl::ascii_isxdigit(text[i + 2])) {
      out += absl::HexStringToBytes(text.substr(i + 1, 2));
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

}  // namespace

void SetLimits(const HttpLimits& limits, RequestParser& parser) {
  parser.header_limit(static_cast<uint32_t>(limits.header_bytes));
  parser.body_limit(limits.body_bytes + limits.picture_bytes);
}

size_t BodyLimit(const HttpLimits& limits, const BeastRequest& request) {
  const absl::string_view target(request.target().data(), request.target().size());
  const absl::string_view path = target.substr(0, target.find('?'));
  const bool may_have_picture = path == "/v1/videos" || path == "/v1/quote";
  return limits.body_bytes + (may_have_picture ? limits.picture_bytes : 0);
}

bool HasKnownCoding(const BeastRequest& request) {
  return request.count(boost::beast::http::field::transfer_encoding) == 0 || request.chunked();
}

HttpRequest FromBeast(BeastRequest request) {
  HttpRequest out;
  out.method = std::string(request.method_string());
  const std::pair<absl::string_view, absl::string_view> target =
      absl::StrSplit(absl::string_view(request.target().data(), request.target().size()), absl::MaxSplits('?', 1));
  out.path = Decoded(target.first);
  for (const absl::string_view field : absl::StrSplit(target.second, '&', absl::SkipEmpty())) {
    const std::pair<absl::string_view, absl::string_view> pair = absl::StrSplit(field, absl::MaxSplits('=', 1));
    out.query[Decoded(pair.first)] = Decoded(pair.second);
  }
  for (const auto& field : request) {
    out.headers[absl::AsciiStrToLower(std::string(field.name_string()))] = std::string(field.value());
  }
  out.body = std::move(request.body());
  return out;
}

bool ReadRange(absl::string_view text, size_t size, size_t& begin, size_t& end) {
  if (!absl::ConsumePrefix(&text, "bytes=")) return false;
  const std::vector<absl::string_view> parts = absl::StrSplit(text, '-');
  if (parts.size() != 2) return false;
  uint64_t first = 0, last = 0;
  if (parts[0].empty()) {
    if (!absl::SimpleAtoi(parts[1], &last)) return false;
    begin = size - std::min<uint64_t>(last, size);
    end = size;
    return true;
  }
  if (!absl::SimpleAtoi(parts[0], &first)) return false;
  if (!parts[1].empty() && (!absl::SimpleAtoi(parts[1], &last) || last < first)) return false;
  begin = first;
  end = parts[1].empty() || last >= size ? size : last + 1;
  return true;
}

}  // namespace longtake::server
