// The command line's flags as a request.
#ifndef LONGTAKE_CLIENTS_CLI_REQUEST_H_
#define LONGTAKE_CLIENTS_CLI_REQUEST_H_

#include <optional>
#include <string>

#include "clients/cli/commands.h"
#include "longtake/v1/resources.pb.h"

namespace longtake::client {

// What a Duration holds, and far beyond every video.
inline constexpr double kLongestSeconds = 1e9;

// An error's text where the flags do not make a request. Whether the values make sense, the server says.
std::optional<std::string> MakeRequest(const GenerateFlags& flags, v1::VideoSpec& spec, v1::DeliveryOptions& options);

// The name of the video that the user means.
std::string VideoName(const std::string& text);

// Tells stderr; returns 1, the exit status.
int Complain(const std::string& text);

}  // namespace longtake::client

#endif  // LONGTAKE_CLIENTS_CLI_REQUEST_H_
