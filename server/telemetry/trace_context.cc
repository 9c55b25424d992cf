#include "server/telemetry/trace_context.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace longtake::server {
namespace {

// Where the parts of "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" begin.
constexpr size_t kTraceId = 3, kSpanId = 36, kFlags = 53, kEnd = 55;

// Lower case only, as the standard has it.
bool IsHex(absl::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool IsId(absl::string_view text) { return IsHex(text) && text.find_first_not_of('0') != absl::string_view::npos; }

}  // namespace

std::optional<TraceContext> ParseTraceparent(absl::string_view header) {
  if (header.size() < kEnd) return std::nullopt;
  const absl::string_view version = header.substr(0, 2), flags = header.substr(kFlags, 2);
  // Later versions may have more behind a dash, which is passed over. 255 is none.
  if (!IsHex(version) || version == "ff") return std::nullopt;
  if (header.size() > kEnd && (version == "00" || header[kEnd] != '-')) return std::nullopt;
  for (const size_t dash : {kTraceId - 1, kSpanId - 1, kFlags - 1}) {
    if (header[dash] != '-') return std::nullopt;
  }
  TraceContext context{.trace_id = std::string(header.substr(kTraceId, 32)),
                       .span_id = std::string(header.substr(kSpanId, 16))};
  if (!IsId(context.trace_id) || !IsId(context.span_id) || !IsHex(flags)) return std::nullopt;
  context.sampled = (absl::HexStringToBytes(flags)[0] & 1) != 0;
  return context;
}

std::string ToTraceparent(const TraceContext& context) {
  return absl::StrCat("00-", context.trace_id, "-", context.span_id, context.sampled ? "-01" : "-00");
}

}  // namespace longtake::server
