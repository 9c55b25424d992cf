// Requests as Beast has parsed them, and as handlers get them.
#ifndef LONGTAKE_SERVER_HTTP_MESSAGE_H_
#define LONGTAKE_SERVER_HTTP_MESSAGE_H_

#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cstddef>
#include <memory>

#include "absl/strings/string_view.h"
#include "server/http/http.h"
#include "server/http/http_server.h"

namespace longtake::server {

using BeastRequest = boost::beast::http::request<boost::beast::http::string_body>;
using RequestParser = boost::beast::http::request_parser<boost::beast::http::string_body>;

// Has the limits of a request's header, and of the largest body.
void SetLimits(const HttpLimits& limits, RequestParser& parser);

// The limit of this request's body, whose header has been read.
size_t BodyLimit(const HttpLimits& limits, const BeastRequest& request);

// Whether the body can be read: a coding that is not understood would make of it another request.
bool HasKnownCoding(const BeastRequest& request);

// Path and query are percent-decoded.
HttpRequest FromBeast(BeastRequest request);

// "bytes=first-last", "bytes=first-", "bytes=-count" of a body of `size` bytes. False: it is none of these, and is
// ignored, as RFC 9110 (section 14.2) has it. What is asked for is empty where `begin` is not before `end`.
bool ReadRange(absl::string_view text, size_t size, size_t& begin, size_t& end);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_HTTP_MESSAGE_H_
