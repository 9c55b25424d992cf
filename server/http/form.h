// Bodies of multipart/form-data, in which OpenAI's clients send a video's request and its picture.
#ifndef LONGTAKE_SERVER_HTTP_FORM_H_
#define LONGTAKE_SERVER_HTTP_FORM_H_

#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/statusor.h"

namespace longtake::server {

// By the Content-Type.
bool IsForm(const std::string& content_type);

// The form as the object that a JSON body would have been: a part with a file name becomes bytes, one whose text is a
// JSON number, list, object, true or false that, but for `prompt` and the like, which are text whatever it says.
// InvalidRequest: it is no form, has a part twice, more parts than any request has fields, or nests too deep.
absl::StatusOr<nlohmann::json> ParseForm(const std::string& content_type, const std::string& body);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_HTTP_FORM_H_
