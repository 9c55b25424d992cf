// What --check-config looks at beyond the options themselves.
#ifndef LONGTAKE_SERVER_CHECK_FILES_H_
#define LONGTAKE_SERVER_CHECK_FILES_H_

#include <string>
#include <vector>

#include "engine/engine.h"
#include "server/server.h"

namespace longtake::server {

// Everything that is wrong with the files and folders that the options name; each begins with the option. Changes
// nothing, takes no port and loads no model: it may run beside the server that uses the same ones.
std::vector<std::string> CheckFiles(const EngineOptions& engine, const ServerOptions& server);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_CHECK_FILES_H_
