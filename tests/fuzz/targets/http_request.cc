// A request of HTTP as it comes from a socket: Beast's parser with our limits, the routes up to where a video is
// needed, and the JSON of bodies.
#include <boost/asio/buffer.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/http/hls_reload.h"
#include "server/http/message.h"
#include "server/http/request_json.h"
#include "server/http/routes.h"
#include "server/http/video_json.h"
#include "server/telemetry/call_log.h"
#include "spdlog/logger.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/planning_engine.h"
#include "tests/server/fake_clock.h"

namespace longtake::server {
namespace {

using fuzz::Check;

// The request in the bytes, if there is a whole one.
std::optional<HttpRequest> ParseRequest(const uint8_t* data, size_t size, std::string& range) {
  RequestParser parser;
  SetLimits({}, parser);
  parser.eager(true);
  boost::beast::error_code error;
  for (size_t at = 0; at < size && !parser.is_done();) {
    const size_t used = parser.put(boost::asio::buffer(data + at, size - at), error);
    if (error || used == 0) return std::nullopt;
    at += used;
  }
  if (!parser.is_done() || !HasKnownCoding(parser.get())) return std::nullopt;
  range = std::string(parser.get()[boost::beast::http::field::range]);
  return FromBeast(parser.release());
}

class CountingResponder : public HttpResponder {
 public:
  void Answer(HttpAnswer answer) override {
    ++answers;
    Check(answer.status >= 200 && answer.status < 600, "an answer has no status");
    // In a header it would begin another one.
    for (const auto& [name, value] : answer.headers) {
      Check(value.find_first_of("\r\n") == std::string::npos, "a header's value has a line's end");
    }
  }
  void Stream(HttpHead, std::shared_ptr<HttpStream>) override { Check(false, "a stream without a video"); }
  void Wait(std::shared_ptr<HttpWait>) override { Check(false, "a wait without a video"); }
  int answers = 0;
};

// A port of a server that still loads its model.
class Port {
 public:
  Port()
      : routes_({.allow_origin = "https://page.example"}, &slot_, /*peers=*/nullptr, authenticator_.get(), links_.get(),
                quotas_.get(), &metrics_, &calls_, [] { return false; }) {}
  void Handle(const HttpRequest& request) {
    const auto responder = std::make_shared<CountingResponder>();
    routes_.Handle(request, responder);
    Check(responder->answers == 1, "a request is not answered once");
  }

 private:
  FakeClock clock_;
  spdlog::logger logger_{"fuzz"};
  Metrics metrics_;
  CallLog calls_{CallLogLevel::kAuto, &logger_, /*tracer=*/nullptr};
  StudioSlot slot_;
  std::unique_ptr<Authenticator> authenticator_ = *Authenticator::Open({}, &clock_, &logger_);
  std::unique_ptr<ViewingLinks> links_ = *ViewingLinks::Open({}, /*asks_callers=*/false, &clock_, &logger_);
  std::unique_ptr<Quotas> quotas_ = *Quotas::Open("", /*max_waiting=*/16, &clock_, &metrics_, &logger_);
  Routes routes_;
};

void CheckRange(const std::string& text) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{1000}}) {
    size_t begin = 0, end = size;
    if (!ReadRange(text, size, begin, end)) continue;
    Check(begin >= end || end <= size, "a range ends behind the body");
  }
}

// What a request of HLS asks for, of a video that is half made.
void CheckHls(const HttpRequest& request) {
  const std::optional<HlsFile> file = ParseHlsFile(request.path.substr(request.path.rfind('/') + 1));
  Check(!file.has_value() || (file->block >= 0 && file->chunk.value_or(0) >= 0), "a block before the first");
  const absl::StatusOr<std::optional<HlsReload>> reload = ReloadFrom(request.query);
  if (!reload.ok() || !reload->has_value()) return;
  static const fuzz::PlanningEngine engine;
  static const VideoPlan plan = *CheckRequest({.prompt = "x", .duration = absl::Seconds(4)}, {}, {}, Purpose::kMake,
                                              engine, {}, /*fresh_seed=*/7);
  const HlsParts parts = *HlsParts::Of(plan);
  for (const LogReach reach : {LogReach{}, LogReach{plan.blocks() / 2, 1}, LogReach{plan.blocks(), 0}}) {
    Check(!IsReached(**reload, parts, reach) || CheckReload(**reload, parts, reach).ok(), "what is there is too far");
  }
}

// Each kind of request that a body may be, whatever the path.
void CheckBody(const std::string& text) {
  const absl::StatusOr<nlohmann::json> body = ParseBody(text);
  if (!body.ok()) return (void)ToAnswer(body.status());
  static const fuzz::PlanningEngine engine;
  const CreateRequest create = ToCreateRequest(*body);
  const absl::StatusOr<VideoPlan> plan =
      CheckRequest(create.spec, create.options, create.errors, Purpose::kMake, engine, {}, /*fresh_seed=*/7);
  Check(!plan.ok() || create.errors.empty(), "a request is accepted in which a field was wrong");
  if (plan.ok()) {
    const VideoInfo info{.name = "videos/0", .plan = std::make_shared<const VideoPlan>(*plan)};
    (void)ToLine(ToJson(info));
  } else {
    (void)ToAnswer(plan.status());
  }
  (void)ToForkRequest(*body);
  std::vector<FieldError> errors;
  (void)ToPromptChange(*body, errors);
  (void)ToLinkDuration(*body, errors);
  const PlaybackReport report = ToPlaybackReport(*body, errors);
  Check(report.position >= absl::ZeroDuration() || !errors.empty(), "a position before the beginning is accepted");
}

}  // namespace
}  // namespace longtake::server

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace longtake::server;  // NOLINT(google-build-using-namespace): libFuzzer's function stands outside of it
  static Port port;
  std::string range;
  std::optional<HttpRequest> request = ParseRequest(data, size, range);
  if (!request.has_value()) return 0;
  CheckRange(range);
  CheckHls(*request);
  port.Handle(*request);
  if (const auto path = ParseVideoPath(request->path.substr(request->path.size() > 4 ? 4 : 0)); path.has_value()) {
    (void)OnlyWatches(*request, path->action);
  }
  CheckBody(request->body);
  return 0;
}
