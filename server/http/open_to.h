// Answers that pages of another origin may read.
#ifndef LONGTAKE_SERVER_HTTP_OPEN_TO_H_
#define LONGTAKE_SERVER_HTTP_OPEN_TO_H_

#include <memory>
#include <string>

#include "server/http/http.h"

namespace longtake::server {

// Passes answers on with the headers that let pages of `origin` read them.
std::shared_ptr<HttpResponder> OpenTo(std::string origin, std::shared_ptr<HttpResponder> responder);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_HTTP_OPEN_TO_H_
