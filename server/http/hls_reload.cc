#include "server/http/hls_reload.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/video/error.h"

namespace longtake::server {
namespace {

constexpr char kSegment[] = "_HLS_msn", kPart[] = "_HLS_part";

// The number of this name, if the query has it.
std::optional<int> NumberOf(const std::map<std::string, std::string>& query, const char* name,
                            std::vector<FieldError>& errors) {
  const auto found = query.find(name);
  if (found == query.end()) return std::nullopt;
  int number = 0;
  if (absl::SimpleAtoi(found->second, &number) && number >= 0) return number;
  errors.push_back({name, "is not a number from 0 on"});
  return std::nullopt;
}

// How many listed chunks of the block are there.
int Listed(const HlsParts& parts, const LogReach& reach, int block) {
  const int all = parts.count(block);
  return block < reach.blocks ? all : block == reach.blocks ? std::min(all, reach.chunks) : 0;
}

// How many chunks further than the playlist's last one a player may ask for: those of three seconds.
int AdvanceLimit(const HlsParts& parts) {
  const double seconds = absl::ToDoubleSeconds(parts.duration());
  return seconds < 1 ? static_cast<int>(3 / seconds) : 3;
}

}  // namespace

absl::StatusOr<std::optional<HlsReload>> ReloadFrom(const std::map<std::string, std::string>& query) {
  std::vector<FieldError> errors;
  const std::optional<int> block = NumberOf(query, kSegment, errors), chunk = NumberOf(query, kPart, errors);
  if (errors.empty() && chunk.has_value() && !block.has_value()) {
    errors.push_back({kPart, absl::StrCat("needs ", kSegment)});
  }
  if (!errors.empty()) return InvalidRequest(std::move(errors));
  if (!block.has_value()) return std::nullopt;
  return HlsReload{.block = *block, .chunk = chunk};
}

absl::Status CheckReload(const HlsReload& reload, const HlsParts& parts, const LogReach& reach) {
  // The last segment is reach.blocks - 1, and the one that is two behind it may still be asked for.
  if (reload.block > reach.blocks + 1) {
    return InvalidRequest({{kSegment, absl::StrCat("is further than ", reach.blocks + 1)}});
  }
  if (!reload.chunk.has_value() || reload.block < reach.blocks) return absl::OkStatus();
  const int furthest = Listed(parts, reach, reload.block) - 1 + AdvanceLimit(parts);
  if (*reload.chunk <= furthest) return absl::OkStatus();
  return InvalidRequest({{kPart, absl::StrCat("is further than ", furthest)}});
}

bool IsReached(const HlsReload& reload, const HlsParts& parts, const LogReach& reach) {
  if (!reload.chunk.has_value()) return reload.block < reach.blocks;
  ChunkNumber wanted{.block = reload.block, .index = *reload.chunk};
  if (wanted.block < reach.blocks && wanted.index >= parts.count(wanted.block)) wanted = {wanted.block + 1, 0};
  return wanted.block < reach.blocks || wanted.index < Listed(parts, reach, wanted.block);
}

}  // namespace longtake::server
