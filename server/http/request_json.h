// Bodies of requests, from JSON.
#ifndef LONGTAKE_SERVER_HTTP_REQUEST_JSON_H_
#define LONGTAKE_SERVER_HTTP_REQUEST_JSON_H_

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/video/fork.h"
#include "server/video/studio.h"

namespace longtake::server {

// The body of a request: InvalidRequest where it is no JSON object, or one that nests deeper than any request does.
// An empty one is {}.
absl::StatusOr<nlohmann::json> ParseBody(const std::string& body);
// A field of another type, and one that nobody knows, is added to the request's errors.
CreateRequest ToCreateRequest(const nlohmann::json& body);
ForkRequest ToForkRequest(const nlohmann::json& body);
PromptChange ToPromptChange(const nlohmann::json& body, std::vector<FieldError>& errors);
struct PlaybackReport {
  std::string viewer_id;
  absl::Duration position;
  bool paused = false;
};
PlaybackReport ToPlaybackReport(const nlohmann::json& body, std::vector<FieldError>& errors);
// How long a viewing link is to hold, if the request says so.
std::optional<absl::Duration> ToLinkDuration(const nlohmann::json& body, std::vector<FieldError>& errors);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_HTTP_REQUEST_JSON_H_
