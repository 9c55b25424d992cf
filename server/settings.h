// The options of longtake-server, from its command line and from a file.
#ifndef LONGTAKE_SERVER_SETTINGS_H_
#define LONGTAKE_SERVER_SETTINGS_H_

#include <string>
#include <variant>

#include "engine/engine.h"
#include "server/server.h"

namespace longtake::server {

struct Settings {
  EngineOptions engine;
  ServerOptions server;
  std::string log_level = "info";
};

// What the server was told, or the status with which the process should end: what there is to say (help, an error with
// the option's name, the options themselves) has been printed.
std::variant<Settings, int> ReadSettings(int argc, char** argv);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_SETTINGS_H_
