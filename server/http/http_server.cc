#include "server/http/http_server.h"

#include <CivetServer.h>

#include <exception>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace longtake::server {
namespace {

// A scraper that reads slowly must not keep a probe waiting.
constexpr char kThreads[] = "4";

const char* Phrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 401:
      return "Unauthorized";
    case 404:
      return "Not Found";
    default:
      return "Service Unavailable";
  }
}

class Handler : public CivetHandler {
 public:
  explicit Handler(std::map<std::string, HttpServer::Page> pages) : pages_(std::move(pages)) {}
  bool handleGet(CivetServer*, mg_connection* connection) override { return Write(connection, true); }
  bool handleHead(CivetServer*, mg_connection* connection) override { return Write(connection, false); }

 private:
  bool Write(mg_connection* connection, bool with_body) const {
    const char* path = mg_get_request_info(connection)->local_uri;
    const auto page = pages_.find(path == nullptr ? "" : path);
    const char* authorization = mg_get_header(connection, "Authorization");
    const HttpRequest request{.authorization = authorization == nullptr ? "" : authorization};
    const HttpAnswer answer =
        page == pages_.end() ? HttpAnswer{.status = 404, .body = "not found\n"} : page->second(request);
    std::string out = absl::StrCat(
        "HTTP/1.1 ", answer.status, " ", Phrase(answer.status), "\r\nContent-Type: ", answer.content_type,
        "\r\nContent-Length: ", answer.body.size(), answer.status == 401 ? "\r\nWWW-Authenticate: Bearer" : "",
        "\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n");
    if (with_body) out += answer.body;
    mg_write(connection, out.data(), out.size());
    return true;
  }

  const std::map<std::string, HttpServer::Page> pages_;
};

}  // namespace

struct HttpServer::Impl {
  explicit Impl(std::map<std::string, Page> pages) : handler(std::move(pages)) {}
  Handler handler;
  std::unique_ptr<CivetServer> civet;  // destroyed first: it calls the handler
};

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const std::string& listen,
                                                              std::map<std::string, Page> pages) {
  auto impl = std::make_unique<Impl>(std::move(pages));
  try {  // CivetWeb throws where the address is taken or none
    impl->civet = std::make_unique<CivetServer>(
        std::vector<std::string>{"listening_ports", listen, "num_threads", kThreads, "request_timeout_ms", "10000"});
    impl->civet->addHandler("/", impl->handler);
    if (impl->civet->getListeningPorts().empty()) {
      return absl::UnavailableError(absl::StrCat("metrics_listen: nothing listens on ", listen));
    }
  } catch (const std::exception& error) {
    return absl::UnavailableError(absl::StrCat("metrics_listen: cannot listen on ", listen, ": ", error.what()));
  }
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

int HttpServer::port() const { return impl_->civet->getListeningPorts().front(); }

}  // namespace longtake::server
