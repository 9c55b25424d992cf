// A video as an HLS presentation (RFC 8216): a block is a Media Segment. Of a live video the newest blocks are also
// listed chunk by chunk, as Partial Segments of low-latency HLS (draft-pantos-hls-rfc8216bis).
#ifndef LONGTAKE_SERVER_VIDEO_HLS_PLAYLIST_H_
#define LONGTAKE_SERVER_VIDEO_HLS_PLAYLIST_H_

#include <optional>
#include <string>

#include "absl/time/time.h"
#include "server/video/chunk_log.h"
#include "server/video/request.h"

namespace longtake::server {

// "block-00007.m4s", and "block-00007.2.m4s" of its third chunk.
std::string BlockFile(int block);
std::string ChunkFile(const ChunkNumber& chunk);
// What such a name stands for; a chunk's index is absent in a block's name. Nothing: it is neither.
struct HlsFile {
  int block = 0;
  std::optional<int> chunk;
};
std::optional<HlsFile> ParseHlsFile(const std::string& name);

// EXT-X-TARGETDURATION: no block is longer.
absl::Duration HlsTargetDuration(const VideoPlan& plan);

// How a video's chunks are listed as Partial Segments. The specification wants all Partial Segments of a playlist to be
// of one duration, give or take 15 %, but for the last one of each Media Segment. All chunks are, except the video's
// first one, which is a single frame. The block that begins with it is therefore listed as a whole only.
class HlsParts {
 public:
  // Nothing: no chunk of this video is listed. An offline video is made at no promised pace, and players give up on
  // Partial Segments that do not come in time; a video of one block has no other block.
  static std::optional<HlsParts> Of(const VideoPlan& plan);

  // PART-TARGET: the duration of each listed chunk.
  absl::Duration duration() const { return duration_; }
  // PART-HOLD-BACK: how far from the playlist's end a player is to stay. The chunks of a block come close after each
  // other, once the block is denoised, so the next one may be a block's duration away.
  absl::Duration hold_back() const { return hold_back_; }
  // How many listed chunks the block has when it is whole; none behind the last block.
  int count(int block) const;
  // The chunk that comes next in a video that reaches so far, if it will be listed.
  std::optional<ChunkNumber> Next(const LogReach& reach) const;

 private:
  explicit HlsParts(const VideoPlan& plan) : plan_(&plan) {}

  const VideoPlan* plan_;  // outlives it
  int frames_ = 0;         // of each listed chunk
  absl::Duration duration_, hold_back_;
};

// The playlist of a video that reaches so far; `ended`: there will be no more. `query` stands behind each of its
// addresses. `parts`: chunks are listed too.
struct HlsState {
  LogReach reach;
  bool ended = false;
  std::string query = {};
  std::optional<HlsParts> parts = {};
};
std::string HlsPlaylist(const VideoPlan& plan, const HlsState& state);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_HLS_PLAYLIST_H_
