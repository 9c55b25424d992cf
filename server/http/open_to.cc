#include "server/http/open_to.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/telemetry/origin.h"

namespace longtake::server {
namespace {

void Open(const std::string& origin, HttpFields& headers) {
  headers.emplace_back("Access-Control-Allow-Origin", origin);
  // Else a page does not see when to try again, nor what to name to the one who runs the server.
  headers.emplace_back("Access-Control-Expose-Headers", absl::StrCat("Retry-After, ", kRequestIdKey));
  headers.emplace_back("Vary", "Origin");
}

class OpenWait : public HttpWait {
 public:
  OpenWait(std::string origin, std::shared_ptr<HttpWait> wait) : origin_(std::move(origin)), wait_(std::move(wait)) {}
  void Start(std::function<void()> more) override { wait_->Start(std::move(more)); }
  std::optional<HttpAnswer> Look() override {
    std::optional<HttpAnswer> answer = wait_->Look();
    if (answer.has_value()) Open(origin_, answer->headers);
    return answer;
  }

 private:
  const std::string origin_;
  const std::shared_ptr<HttpWait> wait_;
};

class OpenResponder : public HttpResponder {
 public:
  OpenResponder(std::string origin, std::shared_ptr<HttpResponder> responder)
      : origin_(std::move(origin)), responder_(std::move(responder)) {}
  void Answer(HttpAnswer answer) override {
    Open(origin_, answer.headers);
    responder_->Answer(std::move(answer));
  }
  void Stream(HttpHead head, std::shared_ptr<HttpStream> stream) override {
    Open(origin_, head.headers);
    responder_->Stream(std::move(head), std::move(stream));
  }
  void Wait(std::shared_ptr<HttpWait> wait) override {
    responder_->Wait(std::make_shared<OpenWait>(origin_, std::move(wait)));
  }

 private:
  const std::string origin_;
  const std::shared_ptr<HttpResponder> responder_;
};

}  // namespace

std::shared_ptr<HttpResponder> OpenTo(std::string origin, std::shared_ptr<HttpResponder> responder) {
  return std::make_shared<OpenResponder>(std::move(origin), std::move(responder));
}

}  // namespace longtake::server
