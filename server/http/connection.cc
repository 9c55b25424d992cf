#include "server/http/connection.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/write.hpp>
#include <chrono>
#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"

namespace longtake::server {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;

constexpr char kLineEnd[] = "\r\n", kLastChunk[] = "0\r\n\r\n";

std::chrono::milliseconds ToChrono(absl::Duration duration) {
  return std::chrono::milliseconds(absl::ToInt64Milliseconds(duration));
}

}  // namespace

// Runs `body` on the connection's strand, unless the connection is gone. What waits in the context does not hold it:
// they would hold each other for ever where nobody runs the context any more.
template <typename Body>
void Connection::PostTo(const std::weak_ptr<Connection>& weak, Body body) {
  const std::shared_ptr<Connection> to = weak.lock();
  if (to == nullptr) return;
  asio::post(to->socket_.get_executor(), [weak, body = std::move(body)]() mutable {
    if (const std::shared_ptr<Connection> self = weak.lock(); self != nullptr) body(*self);
  });
}

// Brings an answer to the connection's strand. What is not answered is a bug of ours, and the client is told so.
class ConnectionResponder : public HttpResponder {
 public:
  explicit ConnectionResponder(std::weak_ptr<Connection> connection) : connection_(std::move(connection)) {}
  ~ConnectionResponder() override {
    if (!answered_) Answer({.status = 500, .body = "the request was not answered\n"});
  }
  void Answer(HttpAnswer answer) override {
    Post([answer = std::move(answer)](Connection& to) mutable { to.Answer(std::move(answer)); });
  }
  void Stream(HttpHead head, std::shared_ptr<HttpStream> stream) override {
    Post([head = std::move(head), stream = std::move(stream)](Connection& to) mutable {
      to.Begin(head, std::move(stream));
    });
  }
  void Wait(std::shared_ptr<HttpWait> wait) override {
    Post([wait = std::move(wait)](Connection& to) mutable { to.AwaitAnswer(std::move(wait)); });
  }

 private:
  template <typename Body>
  void Post(Body body) {
    answered_ = true;
    Connection::PostTo(connection_, std::move(body));
  }

  std::weak_ptr<Connection> connection_;
  bool answered_ = false;
};

Connection::Connection(std::shared_ptr<asio::io_context> context, int descriptor, Shared* shared,
                       std::function<void(Connection*)> on_gone)
    : context_(std::move(context)),
      socket_(asio::make_strand(*context_)),
      timer_(socket_.get_executor()),
      shared_(shared),
      on_gone_(std::move(on_gone)) {
  // Of a socket that is there the protocol's family matters to nobody.
  beast::error_code error;
  socket_.socket().assign(asio::generic::stream_protocol(AF_INET, 0), descriptor, error);
  if (error) close(descriptor);  // every operation on it fails, and it is gone
}

Connection::~Connection() { on_gone_(this); }

void Connection::Run(std::unique_ptr<ConnectionTable::Entry> entry) {
  asio::post(socket_.get_executor(), [self = shared_from_this(), entry = std::move(entry)]() mutable {
    self->entry_ = std::move(entry);
    self->Read();
  });
}

void Connection::Close() {
  asio::post(socket_.get_executor(), [self = shared_from_this()] { self->Shut(); });
}

void Connection::CloseIfIdle() {
  PostTo(weak_from_this(), [](Connection& self) {
    if (!self.busy_) self.Shut();
  });
}

void Connection::SetBusy(bool busy) {
  busy_ = busy;
  if (entry_ != nullptr) entry_->SetBusy(busy);
}

void Connection::Shut() {
  closed_ = true;
  self_.reset();
  stream_.reset();
  wait_.reset();
  timer_.cancel();
  beast::error_code ignored;
  socket_.socket().shutdown(asio::socket_base::shutdown_both, ignored);
  socket_.socket().close(ignored);
  entry_.reset();
}

void Connection::Read() {
  if (closed_) return;
  SetBusy(false);
  parser_.emplace();
  SetLimits(shared_->limits, *parser_);
  socket_.expires_after(ToChrono(shared_->limits.idle));
  // First the header alone: from then on the request has its own limit of time.
  http::async_read_header(socket_, buffer_, *parser_, [self = shared_from_this()](beast::error_code error, size_t) {
    if (error) return self->Refuse(error);
    self->SetBusy(true);
    self->ReadBody();
  });
}

void Connection::ReadBody() {
  const BeastRequest& request = parser_->get();
  head_ = request.method() == http::verb::head;
  keep_alive_ = false;
  if (!HasKnownCoding(request)) {
    return Answer({.status = 400, .body = "Transfer-Encoding is not understood\n"});
  }
  const size_t limit = BodyLimit(shared_->limits, request);
  claimed_ = request.chunked() ? limit : parser_->content_length().value_or(0);
  if (claimed_ > limit) {
    claimed_ = 0;
    return Refuse(http::make_error_code(http::error::body_limit));
  }
  if (request.chunked()) parser_->body_limit(limit);
  if ((shared_->body_bytes += claimed_) > shared_->limits.all_body_bytes) {
    Release();
    return Answer({.status = 503, .body = "too many requests are being read\n", .headers = {{"Retry-After", "1"}}});
  }
  socket_.expires_after(ToChrono(shared_->limits.request));
  http::async_read(socket_, buffer_, *parser_, [self = shared_from_this()](beast::error_code error, size_t) {
    self->Release();
    if (error) return self->Refuse(error);
    self->OnRequest(self->parser_->release());
  });
}

void Connection::Release() { shared_->body_bytes -= std::exchange(claimed_, 0); }

void Connection::Refuse(beast::error_code why) {
  keep_alive_ = false;
  head_ = false;
  const bool ours = why.category() == http::make_error_code(http::error::end_of_stream).category();
  if (!ours || why == http::error::end_of_stream || why == http::error::partial_message) return Shut();
  const bool large = why == http::error::body_limit;
  const int status = large ? 413 : why == http::error::header_limit ? 431 : 400;
  Answer({.status = status, .body = absl::StrCat(why.message(), "\n")});
}

void Connection::OnRequest(BeastRequest request) {
  if (closed_) return;
  socket_.expires_never();
  chunked_ = request.version() == 11;
  keep_alive_ = request.keep_alive() && chunked_ && shared_->limits.keep_alive;
  range_ = std::string(request[http::field::range]);
  if_none_match_ = std::string(request[http::field::if_none_match]);
  HttpRequest out = FromBeast(std::move(request));
  out.head = head_;
  if (head_) out.method = "GET";
  self_ = shared_from_this();
  // shared_ptr: std::function copies what it holds.
  auto to_answer = std::make_shared<HttpRequest>(std::move(out));
  shared_->workers->Post(
      [shared = shared_, to_answer, responder = std::make_shared<ConnectionResponder>(weak_from_this())] {
        try {
          shared->handler(*to_answer, responder);
        } catch (const std::exception& error) {
          // The responder says that nobody has answered.
        }
      });
}

void Connection::Answer(HttpAnswer answer) {
  self_.reset();
  if (closed_) return;
  Response response;
  response.version(11);  // ours, whatever the client's
  response.set(http::field::content_type, answer.content_type);
  for (const auto& [name, value] : answer.headers) response.set(name, value);
  std::string body = std::move(answer.body);
  if (!answer.etag.empty() && answer.status == 200) {
    const std::string etag = absl::StrCat("\"", answer.etag, "\"");
    response.set(http::field::etag, etag);
    response.set(http::field::accept_ranges, "bytes");
    size_t begin = 0, end = body.size();
    if (head_) range_.clear();  // ranges are of GET
    if (if_none_match_.find(etag) != std::string::npos) {
      answer.status = 304;
      body.clear();
    } else if (ReadRange(range_, body.size(), begin, end)) {
      if (begin >= end) {
        answer.status = 416;
        response.set(http::field::content_range, absl::StrCat("bytes */", body.size()));
        body.clear();
      } else {
        answer.status = 206;
        response.set(http::field::content_range, absl::StrCat("bytes ", begin, "-", end - 1, "/", body.size()));
        body = body.substr(begin, end - begin);
      }
    }
  }
  response.result(static_cast<unsigned>(answer.status));
  if (answer.status == 204 || answer.status == 304) {
    response.content_length(boost::none);
  } else {
    response.content_length(body.size());
  }
  if (!head_) response.body() = std::move(body);
  Send(std::move(response));
}

void Connection::Send(Response response) {
  response.keep_alive(keep_alive_);
  response_ = std::move(response);
  socket_.expires_after(ToChrono(shared_->limits.request));
  http::async_write(socket_, *response_, [self = shared_from_this()](beast::error_code error, size_t) {
    self->response_.reset();
    if (error) return self->Shut();
    if (self->keep_alive_) return self->Read();
    self->parser_->is_done() ? self->Shut() : self->Linger();
  });
}

// The request was answered before all of it was read. A socket that is closed with unread bytes resets its connection,
// and the client may lose the answer by it (RFC 9112, section 9.6). So the rest is read first, and forgotten.
void Connection::Linger() {
  beast::error_code ignored;
  socket_.socket().shutdown(asio::socket_base::shutdown_send, ignored);
  SetBusy(false);
  socket_.expires_after(ToChrono(shared_->limits.linger));
  Discard();
}

void Connection::Discard() {
  buffer_.clear();
  socket_.async_read_some(
      buffer_.prepare(buffer_.max_size()),
      [self = shared_from_this()](beast::error_code error, size_t) { error ? self->Shut() : self->Discard(); });
}

void Connection::Begin(const HttpHead& head, std::shared_ptr<HttpStream> stream) {
  self_.reset();
  if (closed_) return;
  chunk_head_ =
      absl::StrCat("HTTP/1.1 200 OK\r\nContent-Type: ", head.content_type,
                   "\r\nCache-Control: no-store\r\nX-Accel-Buffering: no\r\n",
                   chunked_ ? "Transfer-Encoding: chunked\r\n" : "", keep_alive_ ? "" : "Connection: close\r\n");
  for (const auto& [name, value] : head.headers) absl::StrAppend(&chunk_head_, name, ": ", value, kLineEnd);
  chunk_head_ += kLineEnd;
  if (!head_) {
    stream_ = std::move(stream);
    stream_->Start([weak = weak_from_this()] { PostTo(weak, [](Connection& self) { self.Advance(); }); });
  }
  socket_.expires_after(ToChrono(shared_->limits.request));
  writing_ = true;
  asio::async_write(socket_, asio::buffer(chunk_head_), [self = shared_from_this()](beast::error_code error, size_t) {
    self->writing_ = false;
    if (error) return self->Shut();
    self->socket_.expires_never();  // how long a stream may stand still, it says itself
    if (self->stream_ == nullptr) return self->EndStream(/*cut=*/false);
    self->WatchClient();
    self->Tick();
    self->Advance();
  });
}

// A client that goes is noticed though nothing is written to it. It has nothing to say while it is being answered.
void Connection::WatchClient() {
  socket_.socket().async_receive(asio::buffer(unexpected_), asio::socket_base::message_peek,
                                 [self = shared_from_this()](beast::error_code error, size_t size) {
                                   // Cancelled where its request is answered; the next one has its own.
                                   if (!self->waits() || error == asio::error::operation_aborted) return;
                                   if (error || size == 0) self->Shut();
                                 });
}

void Connection::StopWatchingClient() {
  beast::error_code ignored;
  socket_.socket().cancel(ignored);
}

void Connection::Tick() {
  if (!waits() || closed_) return;
  timer_.expires_after(std::chrono::seconds(1));
  timer_.async_wait([self = shared_from_this()](beast::error_code error) {
    if (error || !self->waits()) return;
    if (self->writing_ && self->stream_ != nullptr && self->stream_->Unread()) return self->Shut();
    self->Advance();
    self->Tick();
  });
}

void Connection::AwaitAnswer(std::shared_ptr<HttpWait> wait) {
  self_.reset();
  if (closed_) return;
  wait_ = std::move(wait);
  wait_->Start([weak = weak_from_this()] { PostTo(weak, [](Connection& self) { self.Advance(); }); });
  WatchClient();
  Tick();
  Advance();
}

void Connection::Advance() {
  if (wait_ != nullptr) {
    std::optional<HttpAnswer> answer = wait_->Look();
    if (!answer.has_value()) return;
    wait_.reset();
    timer_.cancel();
    StopWatchingClient();
    return Answer(*std::move(answer));
  }
  if (stream_ == nullptr || writing_ || closed_) return;
  HttpStream::Step step = stream_->Next();
  if (step.has_part) return WritePart(std::move(step.part));
  if (step.ended) EndStream(step.cut);
}

void Connection::WritePart(HttpStream::Part part) {
  part_ = std::move(part);
  chunk_head_ = chunked_ ? absl::StrCat(absl::Hex(part_.head.size() + part_.bytes.size()), kLineEnd) : "";
  const std::array<asio::const_buffer, 4> buffers = {asio::buffer(chunk_head_), asio::buffer(part_.head),
                                                     asio::buffer(part_.bytes.data(), part_.bytes.size()),
                                                     chunked_ ? asio::const_buffer(kLineEnd, 2) : asio::const_buffer()};
  writing_ = true;
  asio::async_write(socket_, buffers, [self = shared_from_this()](beast::error_code error, size_t) {
    self->writing_ = false;
    self->part_ = {};
    if (error) return self->Shut();
    const std::shared_ptr<HttpStream> stream = self->stream_;
    if (stream == nullptr) return;
    stream->Written();
    self->Advance();
    stream->Report();
  });
}

void Connection::EndStream(bool cut) {
  // It counts as a call until its end is written.
  const std::shared_ptr<HttpStream> ending = std::exchange(stream_, nullptr);
  timer_.cancel();
  if (cut) return Shut();  // without the last chunk the client knows
  if (!chunked_ || head_) {
    if (!keep_alive_) return Shut();
    return Read();
  }
  StopWatchingClient();
  socket_.expires_after(ToChrono(shared_->limits.request));
  asio::async_write(socket_, asio::const_buffer(kLastChunk, 5),
                    [self = shared_from_this(), ending](beast::error_code error, size_t) {
                      if (error || !self->keep_alive_) return self->Shut();
                      self->Read();
                    });
}

}  // namespace longtake::server
