#include "server/http/logged_call.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace longtake::server {
namespace {

constexpr char kOther[] = "{other}";
// The code of a call whose client went before it was answered, as other servers' logs have it.
constexpr char kClientGone[] = "499";

template <size_t kCount>
bool IsOneOf(absl::string_view word, const std::array<absl::string_view, kCount>& words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

constexpr std::array<absl::string_view, 5> kMethods = {"DELETE", "GET", "HEAD", "POST", "PUT"};
constexpr std::array<absl::string_view, 10> kActions = {"cancel", "content",  "fork",   "index.m3u8", "init.mp4",
                                                        "link",   "playback", "prompt", "stream.mp4", "watch"};
constexpr std::array<absl::string_view, 3> kStreams = {"content", "stream.mp4", "watch"};

// What is behind "/v1/", without what clients choose.
std::string FormOf(absl::string_view path) {
  const std::vector<absl::string_view> parts = absl::StrSplit(path, '/', absl::SkipEmpty());
  if (parts.size() < 2) return kOther;
  const absl::string_view first = parts[1];
  if (parts.size() == 2 && (first == "models" || first == "quote" || first == "videos")) return std::string(first);
  if (first != "videos") return kOther;
  if (parts.size() == 3) return "videos/{video}";
  const bool block = absl::StartsWith(parts[3], "block-") && absl::EndsWith(parts[3], ".m4s");
  const absl::string_view action = parts.size() > 4 || (!block && !IsOneOf(parts[3], kActions)) ? kOther
                                   : block                                                      ? "block-{n}.m4s"
                                                                                                : parts[3];
  return absl::StrCat("videos/{video}/", action);
}

bool IsRoutine(absl::string_view method, absl::string_view form) {
  const absl::string_view last = form.substr(form.rfind('/') + 1);
  return method == "GET" || method == "HEAD" ? !IsOneOf(last, kStreams) : last == "quote" || last == "playback";
}

// Empty: there is none of this name.
absl::string_view HeaderOf(const HttpRequest& request, const char* name) {
  const auto found = request.headers.find(name);
  return found == request.headers.end() ? absl::string_view() : absl::string_view(found->second);
}

// Keeps what the log says of the answer, and names the call in it.
void Note(HttpAnswer& answer, CallRecord& call) {
  call.code = absl::StrCat(answer.status);
  call.failed = answer.status == 500;
  answer.headers.emplace_back(kRequestIdKey, call.origin.request_id);
}

// Logs its call when it is gone.
class LoggedStream : public HttpStream {
 public:
  LoggedStream(std::shared_ptr<CallRecord> call, const CallLog* log, std::shared_ptr<HttpStream> stream)
      : call_(std::move(call)), log_(log), stream_(std::move(stream)) {}
  // The stream goes last: with it the call is over, and then the log may be gone.
  ~LoggedStream() override { log_->OnFinished(*call_); }
  void Start(std::function<void()> more) override { stream_->Start(std::move(more)); }
  Step Next() override { return stream_->Next(); }
  void Written() override { stream_->Written(); }
  void Report() override { stream_->Report(); }
  bool Unread() override { return stream_->Unread(); }

 private:
  const std::shared_ptr<CallRecord> call_;
  const CallLog* const log_;
  const std::shared_ptr<HttpStream> stream_;
};

// Logs its call when it is gone, answered or not.
class LoggedWait : public HttpWait {
 public:
  LoggedWait(std::shared_ptr<CallRecord> call, const CallLog* log, std::shared_ptr<HttpWait> wait)
      : call_(std::move(call)), log_(log), wait_(std::move(wait)) {
    call_->code = kClientGone;
  }
  ~LoggedWait() override { log_->OnFinished(*call_); }
  void Start(std::function<void()> more) override { wait_->Start(std::move(more)); }
  std::optional<HttpAnswer> Look() override {
    std::optional<HttpAnswer> answer = wait_->Look();
    if (answer.has_value()) Note(*answer, *call_);
    return answer;
  }

 private:
  const std::shared_ptr<CallRecord> call_;
  const CallLog* const log_;
  const std::shared_ptr<HttpWait> wait_;
};

class LoggedResponder : public HttpResponder {
 public:
  LoggedResponder(std::shared_ptr<CallRecord> call, const CallLog* log, std::shared_ptr<HttpResponder> responder)
      : call_(std::move(call)), log_(log), responder_(std::move(responder)) {}
  void Answer(HttpAnswer answer) override {
    Note(answer, *call_);
    log_->OnFinished(*call_);
    responder_->Answer(std::move(answer));
  }
  void Stream(HttpHead head, std::shared_ptr<HttpStream> stream) override {
    call_->code = "200";
    head.headers.emplace_back(kRequestIdKey, call_->origin.request_id);
    responder_->Stream(std::move(head), std::make_shared<LoggedStream>(call_, log_, std::move(stream)));
  }
  void Wait(std::shared_ptr<HttpWait> wait) override {
    responder_->Wait(std::make_shared<LoggedWait>(call_, log_, std::move(wait)));
  }

 private:
  const std::shared_ptr<CallRecord> call_;
  const CallLog* const log_;
  const std::shared_ptr<HttpResponder> responder_;
};

}  // namespace

std::shared_ptr<CallRecord> BeginCall(const HttpRequest& request, const CallLog& log) {
  auto call = std::make_shared<CallRecord>();
  const std::string form = FormOf(request.path);
  const absl::string_view method = request.head ? "HEAD" : absl::string_view(request.method);
  call->method = absl::StrCat(IsOneOf(method, kMethods) ? method : kOther, " /v1/", form);
  call->routine = IsRoutine(method, form);
  log.OnBegun(HeaderOf(request, kRequestIdKey), HeaderOf(request, kTraceparentKey), *call);
  return call;
}

std::shared_ptr<HttpResponder> Logged(std::shared_ptr<CallRecord> call, const CallLog* log,
                                      std::shared_ptr<HttpResponder> responder) {
  return std::make_shared<LoggedResponder>(std::move(call), log, std::move(responder));
}

}  // namespace longtake::server
