// A call over HTTP, with what the log says of it.
#ifndef LONGTAKE_SERVER_HTTP_LOGGED_CALL_H_
#define LONGTAKE_SERVER_HTTP_LOGGED_CALL_H_

#include <memory>
#include <string>

#include "server/http/http.h"
#include "server/telemetry/call_log.h"

namespace longtake::server {

// The record of a request of the API: its method with the path's form, "GET /v1/videos/{video}", its id and its place
// in a trace. Of the request's own text nothing else is in it.
std::shared_ptr<CallRecord> BeginCall(const HttpRequest& request, const CallLog& log);

// Answers as `responder` does, with the call's id in a header. The call's line is logged when it is answered, or when
// its stream has ended. `log` outlives it and its streams.
std::shared_ptr<HttpResponder> Logged(std::shared_ptr<CallRecord> call, const CallLog* log,
                                      std::shared_ptr<HttpResponder> responder);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_HTTP_LOGGED_CALL_H_
