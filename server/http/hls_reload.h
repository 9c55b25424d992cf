// Blocking Playlist Reload of low-latency HLS: a player asks for a playlist that has what it does not know yet, and is
// answered when there is one.
#ifndef LONGTAKE_SERVER_HTTP_HLS_RELOAD_H_
#define LONGTAKE_SERVER_HTTP_HLS_RELOAD_H_

#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/video/hls_playlist.h"

namespace longtake::server {

// What the playlist is to have: _HLS_msn, a block, and _HLS_part, a chunk of it.
struct HlsReload {
  int block = 0;
  std::optional<int> chunk;
};

// What the query asks for, if it asks for anything. InvalidRequest: one of the two is no number, or there is a part
// without its segment.
absl::StatusOr<std::optional<HlsReload>> ReloadFrom(const std::map<std::string, std::string>& query);

// InvalidRequest: no player that knows the playlist of a video that reaches so far has a reason to ask for this.
absl::Status CheckReload(const HlsReload& reload, const HlsParts& parts, const LogReach& reach);

// Whether that playlist has what was asked for. A chunk behind the last one of its block is the first one of the next
// block.
bool IsReached(const HlsReload& reload, const HlsParts& parts, const LogReach& reach);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_HTTP_HLS_RELOAD_H_
