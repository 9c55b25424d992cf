// Videos in JSON, in the shape of the video endpoints that OpenAI's clients and their gateways speak, and with more
// fields.
#ifndef LONGTAKE_SERVER_HTTP_VIDEO_JSON_H_
#define LONGTAKE_SERVER_HTTP_VIDEO_JSON_H_

#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/http/http.h"
#include "server/video/event.h"

namespace longtake::server {

// "videos/{id}" without its first part.
std::string IdOf(const std::string& name);

// Whom a video is described to. Whoever has only a link to it is not told what it is made from: prompts, seed and
// request id.
enum class Reader { kTenant, kLinkHolder };

// `with_blocks`: where each of its blocks begins.
nlohmann::json ToJson(const VideoInfo& video, bool with_blocks = true, Reader reader = Reader::kTenant);
nlohmann::json ToJson(const ModelInfo& model);
nlohmann::json ToJson(const scheduler::Quote& quote);
// {"event": ..., "bytes": those of its media, if it has any}.
nlohmann::json ToJson(const Event& event, size_t media_size, Reader reader);

// {"code": the reason's name, "message": ...}.
nlohmann::json ErrorJson(const absl::Status& error);
// As one line; bytes that are no UTF-8 are replaced.
std::string ToLine(const nlohmann::json& json);

// An error with the status that HTTP has for it, and Retry-After where it is known.
HttpAnswer ToAnswer(const absl::Status& error);
HttpAnswer ToAnswer(const nlohmann::json& json);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_HTTP_VIDEO_JSON_H_
