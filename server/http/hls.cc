#include "server/http/hls.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/http/video_json.h"
#include "server/video/stored_video.h"

namespace longtake::server {

HttpAnswer HlsAnswer(Video& video, const std::string& file, const Viewer& viewer) {
  const VideoInfo info = video.info();
  const std::string id = IdOf(info.name);
  if (file == "index.m3u8") {
    const bool ended = info.end_time.has_value();
    const std::string query = viewer.link.empty() ? "" : absl::StrCat("?link=", viewer.link);
    return {.content_type = "application/vnd.apple.mpegurl",
            .body = HlsPlaylist(*info.plan, info.blocks, ended, query),
            .headers = {{"Cache-Control", ended ? viewer.CacheFor(absl::Minutes(1)) : "no-cache"}}};
  }
  // What is finished never changes, so that caches may keep it.
  const HttpFields for_ever = {{"Cache-Control", absl::StrCat(viewer.CacheFor(absl::Hours(365 * 24)), ", immutable")}};
  if (file == "init.mp4") {
    return {.content_type = "video/mp4",
            .body = video.description().stream.init_segment,
            .headers = for_ever,
            .etag = absl::StrCat(id, "-init")};
  }
  absl::string_view number = file;
  int block = 0;
  if (!absl::ConsumePrefix(&number, "block-") || !absl::ConsumeSuffix(&number, ".m4s") ||
      !absl::SimpleAtoi(number, &block) || block < 0 || block >= info.plan->blocks()) {
    return ToAnswer(NotFound(Reason::kVideoNotFound, absl::StrCat(info.name, "/", file)));
  }
  absl::StatusOr<std::string> segment = video.Segment(block);
  if (!segment.ok()) {
    HttpAnswer answer = ToAnswer(segment.status());
    if (DetailsOf(segment.status()).reason == Reason::kBlockNotMade) answer.status = 404;
    return answer;
  }
  return {.content_type = "video/mp4",
          .body = *std::move(segment),
          .headers = for_ever,
          .etag = absl::StrCat(id, "-", block)};
}

}  // namespace longtake::server
