// The server at a glance, for those who run it: what /status answers and `longtake top` shows.
#ifndef LONGTAKE_SERVER_HTTP_STATUS_JSON_H_
#define LONGTAKE_SERVER_HTTP_STATUS_JSON_H_

#include <nlohmann/json.hpp>
#include <string>

#include "server/access/access.h"
#include "server/video/studio.h"

namespace longtake::server {

// What metrics do not have, because it is of single videos: those that wait or are being made, the oldest first; how
// many have ended; what tenants have of their quotas; what the store holds. Docs: operations.md. Prompts are not in it.
// `studio`: null while the model loads. `store`: the directory; empty: there is none.
nlohmann::json StatusJson(const Studio* studio, const Quotas& quotas, const std::string& store);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_HTTP_STATUS_JSON_H_
