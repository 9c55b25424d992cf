// The options of longtake-server, from its command line and from a file.
#ifndef LONGTAKE_SERVER_SETTINGS_H_
#define LONGTAKE_SERVER_SETTINGS_H_

#include <ostream>
#include <string>
#include <variant>

#include "common/build_info.h"
#include "engine/engine.h"
#include "server/server.h"
#include "server/telemetry/log_options.h"

namespace longtake::server {

struct Settings {
  EngineOptions engine;
  ServerOptions server;
  std::string log_level = "info";
  LogFormat log_format = LogFormat::kText;
};

// What the server was told, or the status with which the process should end: what there is to say (help, errors with
// the options' names, the options themselves) has been written to `out` or `err`.
std::variant<Settings, int> ReadSettings(int argc, const char* const* argv, const BuildInfo& build, std::ostream& out,
                                         std::ostream& err);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_SETTINGS_H_
