#include "server/http/pass_on.h"

#include <array>
#include <boost/asio/connect.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/mutex.h"
#include "common/percent_encoding.h"
#include "common/status_macros.h"
#include "common/thread.h"
#include "server/http/video_json.h"
#include "server/telemetry/trace_context.h"
#include "server/video/error.h"

namespace longtake::server {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;

constexpr char kPassedOn[] = "x-longtake-passed-on";
// A server of the same network answers in milliseconds. Two seconds are for one that is about to be taken for dead.
constexpr std::chrono::seconds kConnect(2), kAnswer(30);
// An answer that is whole: a block of the largest model has 2 MB.
constexpr size_t kMaxAnswer = size_t{64} << 20;
constexpr size_t kPartBytes = size_t{64} << 10;

http::request<http::string_body> ToBeast(const HttpRequest& request, const CallOrigin& origin,
                                         const std::string& address) {
  std::string target = PercentEncoded(request.path, "/");
  for (const auto& [name, value] : request.query) {
    absl::StrAppend(&target, target.find('?') == std::string::npos ? "?" : "&", PercentEncoded(name), "=",
                    PercentEncoded(value));
  }
  http::request<http::string_body> out(request.head ? http::verb::head : http::string_to_verb(request.method), target,
                                       11);
  out.set(http::field::host, address);
  out.set(http::field::connection, "close");
  out.set(kPassedOn, "1");
  out.set(kRequestIdKey, origin.request_id);
  if (!origin.trace.trace_id.empty()) out.set(kTraceparentKey, ToTraceparent(origin.trace));
  for (const char* name : {"authorization", "content-type", "accept", "range", "if-none-match"}) {
    if (const auto found = request.headers.find(name); found != request.headers.end()) out.set(name, found->second);
  }
  out.body() = request.body;
  out.prepare_payload();
  return out;
}

// One request and its answer. All of it happens on one strand; whatever is under way holds it.
class Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  Exchange(asio::io_context* context, const std::string& address, absl::Status error, const CallOrigin& origin,
           const HttpRequest& request, std::shared_ptr<HttpResponder> responder, absl::Duration max_unread)
      : resolver_(asio::make_strand(*context)),
        socket_(resolver_.get_executor()),
        address_(address),
        error_(std::move(error)),
        request_(ToBeast(request, origin, address)),
        responder_(std::move(responder)),
        max_unread_(max_unread) {
    parser_.body_limit(
        std::numeric_limits<uint64_t>::max());  // of `none` Boost 1.74 says that every length is above it
    parser_.skip(request.head);
  }

  void Start() {
    const size_t colon = address_.rfind(':');
    std::string host = address_.substr(0, colon), port = colon == std::string::npos ? "" : address_.substr(colon + 1);
    if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
    resolver_.async_resolve(host, port, [self = shared_from_this()](beast::error_code error, const auto& found) {
      if (error) return self->Fail();
      self->socket_.expires_after(kConnect);
      self->socket_.async_connect(found, [self](beast::error_code failed, const auto& /*endpoint*/) {
        if (failed) return self->Fail();
        self->Send();
      });
    });
  }
  // The client is gone.
  void Close() {
    asio::post(socket_.get_executor(), [self = shared_from_this()] { self->socket_.close(); });
  }

  // Of the body, as HttpStream has them.
  void Start(std::function<void()> more) {
    const MutexLock lock(mutex_);
    more_ = std::move(more);
  }
  HttpStream::Step Next() {
    const MutexLock lock(mutex_);
    if (part_ != nullptr) {
      std::shared_ptr<const std::string> part = std::move(part_);
      since_ = absl::Now();
      return {.has_part = true, .part = {.head = {}, .owner = part, .bytes = *part}};
    }
    if (ended_) return {.ended = true, .cut = cut_};
    if (!std::exchange(reading_, true)) {
      asio::post(socket_.get_executor(), [self = shared_from_this()] { self->ReadPart(); });
    }
    return {};
  }
  void Written() {
    const MutexLock lock(mutex_);
    since_.reset();
  }
  bool Unread() const {
    const MutexLock lock(mutex_);
    return since_.has_value() && absl::Now() - *since_ > max_unread_;
  }

 private:
  void Fail() { responder_->Answer(ToAnswer(error_)); }
  void Send() {
    socket_.expires_after(kAnswer);
    http::async_write(socket_, request_, [self = shared_from_this()](beast::error_code error, size_t) {
      if (error) return self->Fail();
      http::async_read_header(self->socket_, self->buffer_, self->parser_, [self](beast::error_code failed, size_t) {
        if (failed) return self->Fail();
        self->Answer();
      });
    });
  }
  HttpFields Headers() const {
    HttpFields headers;
    for (const http::field name :
         {http::field::cache_control, http::field::etag, http::field::content_range, http::field::accept_ranges,
          http::field::retry_after, http::field::www_authenticate, http::field::allow}) {
      const auto value = parser_.get()[name];
      if (!value.empty()) headers.emplace_back(std::string(http::to_string(name)), std::string(value));
    }
    return headers;
  }
  void Answer();
  // All of the body that is left, then the answer.
  void ReadWhole(HttpAnswer answer);
  void ReadPart();
  void OnPart(beast::error_code error);

  asio::ip::tcp::resolver resolver_;
  beast::tcp_stream socket_;
  const std::string address_;
  const absl::Status error_;
  const http::request<http::string_body> request_;
  const std::shared_ptr<HttpResponder> responder_;
  const absl::Duration max_unread_;
  beast::flat_buffer buffer_;
  http::response_parser<http::buffer_body> parser_;
  std::array<char, kPartBytes> bytes_;

  mutable Mutex mutex_;
  std::function<void()> more_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const std::string> part_ ABSL_GUARDED_BY(mutex_);
  bool reading_ ABSL_GUARDED_BY(mutex_) = false, ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool cut_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<absl::Time> since_ ABSL_GUARDED_BY(mutex_);  // when the client was given the part under way
};

// A body that grows. The other server sees by it how fast the client reads: a part is read when the last one is gone.
class PassedOnStream : public HttpStream {
 public:
  explicit PassedOnStream(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}
  ~PassedOnStream() override { exchange_->Close(); }
  void Start(std::function<void()> more) override { exchange_->Start(std::move(more)); }
  Step Next() override { return exchange_->Next(); }
  void Written() override { exchange_->Written(); }
  void Report() override {}
  bool Unread() override { return exchange_->Unread(); }

 private:
  const std::shared_ptr<Exchange> exchange_;
};

void Exchange::Answer() {
  const auto& head = parser_.get();
  HttpAnswer answer{.status = static_cast<int>(head.result_int()),
                    .content_type = std::string(head[http::field::content_type]),
                    .body = {},
                    .headers = Headers()};
  if (answer.status == 200 && parser_.chunked() && !parser_.is_done()) {
    socket_.expires_never();  // a silent video is no dead one
    return responder_->Stream({answer.content_type, answer.headers},
                              std::make_shared<PassedOnStream>(shared_from_this()));
  }
  ReadWhole(std::move(answer));
}

void Exchange::ReadWhole(HttpAnswer answer) {
  if (parser_.is_done()) return responder_->Answer(std::move(answer));
  parser_.get().body().data = bytes_.data();
  parser_.get().body().size = bytes_.size();
  // shared_ptr: handlers are moved and must not be large.
  auto so_far = std::make_shared<HttpAnswer>(std::move(answer));
  http::async_read(socket_, buffer_, parser_, [self = shared_from_this(), so_far](beast::error_code error, size_t) {
    so_far->body.append(self->bytes_.data(), self->bytes_.size() - self->parser_.get().body().size);
    if (error && error != http::error::need_buffer) return self->Fail();
    if (so_far->body.size() > kMaxAnswer) return self->Fail();
    self->ReadWhole(std::move(*so_far));
  });
}

void Exchange::ReadPart() {
  if (parser_.is_done()) return OnPart({});
  parser_.get().body().data = bytes_.data();
  parser_.get().body().size = bytes_.size();
  http::async_read_some(socket_, buffer_, parser_, [self = shared_from_this()](beast::error_code error, size_t) {
    self->OnPart(error == http::error::need_buffer ? beast::error_code() : error);
  });
}

void Exchange::OnPart(beast::error_code error) {
  std::function<void()> more;
  const size_t size =
      parser_.is_done() && parser_.get().body().data == nullptr ? 0 : bytes_.size() - parser_.get().body().size;
  parser_.get().body().data = nullptr;
  {
    const MutexLock lock(mutex_);
    reading_ = false;
    if (size > 0) part_ = std::make_shared<const std::string>(bytes_.data(), size);
    if (error || (size == 0 && parser_.is_done())) {
      ended_ = true;
      cut_ = !parser_.is_done();
    }
    more = more_;
  }
  if (more) more();
}

}  // namespace

struct HttpPeers::Impl {
  explicit Impl(absl::Duration unread) : max_unread(unread) {}
  ~Impl() {
    context.stop();
    if (thread.joinable()) thread.join();
  }

  const absl::Duration max_unread;
  asio::io_context context{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{context.get_executor()};
  std::thread thread;
};

HttpPeers::HttpPeers(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpPeers::~HttpPeers() = default;

absl::StatusOr<std::unique_ptr<HttpPeers>> HttpPeers::Start(absl::Duration max_unread) {
  auto impl = std::make_unique<Impl>(max_unread);
  ASSIGN_OR_RETURN(impl->thread, StartThread("http peers", [context = &impl->context] { context->run(); }));
  return std::unique_ptr<HttpPeers>(new HttpPeers(std::move(impl)));
}

std::string HttpPeers::ServerOf(const absl::Status& error, const HttpRequest& request) {
  if (error.ok() || request.headers.contains(kPassedOn)) return "";
  const ErrorDetails details = DetailsOf(error);
  const auto server = details.metadata.find("http_server");
  return details.reason == Reason::kOtherServer && server != details.metadata.end() ? server->second : "";
}

void HttpPeers::PassOn(const std::string& address, const absl::Status& error, const CallOrigin& origin,
                       const HttpRequest& request, std::shared_ptr<HttpResponder> responder) {
  std::make_shared<Exchange>(&impl_->context, address, error, origin, request, std::move(responder), impl_->max_unread)
      ->Start();
}

}  // namespace longtake::server
