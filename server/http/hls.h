// The files of a video as HLS (RFC 8216).
#ifndef LONGTAKE_SERVER_HTTP_HLS_H_
#define LONGTAKE_SERVER_HTTP_HLS_H_

#include <string>

#include "server/http/http.h"
#include "server/http/viewing.h"
#include "server/video/video.h"

namespace longtake::server {

// "index.m3u8", "init.mp4" or "block-N.m4s". VIDEO_NOT_FOUND: there is no such file, or not yet.
HttpAnswer HlsAnswer(Video& video, const std::string& file, const Viewer& viewer);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_HTTP_HLS_H_
