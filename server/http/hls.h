// The files of a video as HLS (RFC 8216), with low latency for videos that are made live.
#ifndef LONGTAKE_SERVER_HTTP_HLS_H_
#define LONGTAKE_SERVER_HTTP_HLS_H_

#include <map>
#include <memory>
#include <string>

#include "server/http/http.h"
#include "server/http/viewing.h"
#include "server/video/studio_slot.h"
#include "server/video/video.h"

namespace longtake::server {

// Answers with "index.m3u8", "init.mp4", "block-N.m4s" or "block-N.M.m4s"; VIDEO_NOT_FOUND: there is no such file, or
// not yet. Waits where HLS wants that: for what the query says of the playlist, and for the chunk that the playlist
// says will come next. `slot` outlives the request.
void AnswerHls(StudioSlot* slot, const std::shared_ptr<Video>& video, const std::string& file,
               const std::map<std::string, std::string>& query, const Viewer& viewer,
               const std::shared_ptr<HttpResponder>& responder);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_HTTP_HLS_H_
