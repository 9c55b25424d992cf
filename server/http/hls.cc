#include "server/http/hls.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/http/hls_reload.h"
#include "server/http/video_json.h"
#include "server/http/video_wait.h"
#include "server/video/error.h"
#include "server/video/hls_playlist.h"

namespace longtake::server {
namespace {

// The specification wants a playlist that was waited for to be kept by caches for so long: its address says what is in
// it, and many players ask for the same one.
constexpr int kTargetDurationsKept = 6;
// And a request to be given up after so long. Proxies, and servers that pass a request on, give up after 30 s.
constexpr int kTargetDurationsWaited = 3;
constexpr absl::Duration kLongestWait = absl::Seconds(20);

// After the viewer has waited.
Viewer Later(Viewer viewer, absl::Duration waited) {
  viewer.left -= waited;
  return viewer;
}

HttpAnswer PlaylistOf(const Video& video, const std::optional<HlsParts>& parts, const Viewer& viewer, bool waited_for) {
  // In this order: what is closed grows no more.
  const bool ended = video.closed();
  const HlsState state{.reach = video.reach(),
                       .ended = ended,
                       .query = viewer.link.empty() ? "" : absl::StrCat("?link=", viewer.link),
                       .parts = parts};
  return {.content_type = "application/vnd.apple.mpegurl",
          .body = HlsPlaylist(video.plan(), state),
          .headers = {{"Cache-Control", ended ? viewer.CacheFor(absl::Minutes(1))
                                        : waited_for
                                            ? viewer.CacheFor(kTargetDurationsKept * HlsTargetDuration(video.plan()))
                                            : "no-cache"}}};
}

// Of bytes that never change, so that caches may keep them.
HttpAnswer MediaOf(std::string bytes, std::string etag, const Viewer& viewer) {
  return {.content_type = "video/mp4",
          .body = std::move(bytes),
          .headers = {{"Cache-Control", absl::StrCat(viewer.CacheFor(absl::Hours(365 * 24)), ", immutable")}},
          .etag = std::move(etag)};
}

HttpAnswer NoSuchFile(const Video& video, const std::string& file) {
  return ToAnswer(NotFound(Reason::kVideoNotFound, absl::StrCat(video.name(), "/", file)));
}

HttpAnswer MediaOrError(absl::StatusOr<std::string> bytes, std::string etag, const Viewer& viewer) {
  if (bytes.ok()) return MediaOf(*std::move(bytes), std::move(etag), viewer);
  HttpAnswer answer = ToAnswer(bytes.status());
  if (DetailsOf(bytes.status()).reason == Reason::kBlockNotMade) answer.status = 404;
  return answer;
}

// The chunk, or that there is none; nothing while it may still come.
std::optional<HttpAnswer> ChunkOf(Video& video, const std::optional<HlsParts>& parts, const ChunkNumber& chunk,
                                  const Viewer& viewer) {
  // Before the log is read: what comes in between is found.
  const bool comes = parts.has_value() && !video.closed() && parts->Next(video.reach()) == chunk;
  absl::StatusOr<std::string> bytes = video.ChunkBytes(chunk);
  if (comes && DetailsOf(bytes.status()).reason == Reason::kBlockNotMade) return std::nullopt;
  return MediaOrError(std::move(bytes), absl::StrCat(IdOf(video.name()), "-", chunk.block, ".", chunk.index), viewer);
}

}  // namespace

void AnswerHls(StudioSlot* slot, const std::shared_ptr<Video>& video, const std::string& file,
               const std::map<std::string, std::string>& query, const Viewer& viewer,
               const std::shared_ptr<HttpResponder>& responder) {
  const std::string id = IdOf(video->name());
  const std::optional<HlsParts> parts = HlsParts::Of(video->plan());
  const auto wait = [&](VideoWait::Find find) {
    const absl::Duration limit = std::min(kTargetDurationsWaited * HlsTargetDuration(video->plan()), kLongestWait);
    responder->Wait(VideoWait::Open(slot, video, limit, std::move(find)));
  };
  if (file == "index.m3u8") {
    // Who is not told that the server waits is not waited for.
    absl::StatusOr<std::optional<HlsReload>> reload = std::optional<HlsReload>();
    if (parts.has_value()) reload = ReloadFrom(query);
    if (!reload.ok()) return responder->Answer(ToAnswer(reload.status()));
    if (!reload->has_value() || video->closed()) {
      return responder->Answer(PlaylistOf(*video, parts, viewer, /*waited_for=*/false));
    }
    if (absl::Status near = CheckReload(**reload, *parts, video->reach()); !near.ok()) {
      return responder->Answer(ToAnswer(near));
    }
    return wait([=, wanted = **reload](absl::Duration waited) -> std::optional<HttpAnswer> {
      if (!video->closed() && !IsReached(wanted, *parts, video->reach())) return std::nullopt;
      return PlaylistOf(*video, parts, Later(viewer, waited), /*waited_for=*/true);
    });
  }
  if (file == "init.mp4") {
    return responder->Answer(MediaOf(video->description().stream.init_segment, absl::StrCat(id, "-init"), viewer));
  }
  const std::optional<HlsFile> part = ParseHlsFile(file);
  if (!part.has_value() || part->block >= video->plan().blocks()) return responder->Answer(NoSuchFile(*video, file));
  if (!part->chunk.has_value()) {
    return responder->Answer(MediaOrError(video->Segment(part->block), absl::StrCat(id, "-", part->block), viewer));
  }
  const ChunkNumber chunk{.block = part->block, .index = *part->chunk};
  if (std::optional<HttpAnswer> there = ChunkOf(*video, parts, chunk, viewer); there.has_value()) {
    return responder->Answer(*std::move(there));
  }
  wait([=](absl::Duration waited) { return ChunkOf(*video, parts, chunk, Later(viewer, waited)); });
}

}  // namespace longtake::server
