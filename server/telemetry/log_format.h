// How the log's lines look.
//
// A line is a message with fields behind it, `video accepted name=videos/5f message="a \"b\""` (logfmt). In the format
// "json" the same line is an object with the fields by their names. So whoever logs writes one form, by spdlog's own
// functions, and gives text that is not his own to LogValue.
#ifndef LONGTAKE_SERVER_TELEMETRY_LOG_FORMAT_H_
#define LONGTAKE_SERVER_TELEMETRY_LOG_FORMAT_H_

#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "server/telemetry/log_options.h"
#include "spdlog/formatter.h"

namespace longtake::server {

std::unique_ptr<spdlog::formatter> MakeLogFormatter(LogFormat format);

// A field's value: as it is where it is one plain word that is no number, else quoted with escapes.
std::string LogValue(absl::string_view text);

// The line's text as an object without braces: `"message":"...","name":"..."`. Fields are the words of the form
// name=value at its end; the rest is the message. Numbers, true and false that are not quoted keep their type.
std::string LineToJson(absl::string_view line);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_TELEMETRY_LOG_FORMAT_H_
