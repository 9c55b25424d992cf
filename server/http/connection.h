// One connection of the HTTP port.
#ifndef LONGTAKE_SERVER_HTTP_CONNECTION_H_
#define LONGTAKE_SERVER_HTTP_CONNECTION_H_

#include <array>
#include <atomic>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/worker_pool.h"
#include "server/http/http.h"
#include "server/http/http_server.h"
#include "server/http/message.h"
#include "server/listen/connection_table.h"

namespace longtake::server {

// Reads a request, has it answered, and reads the next one. All of it happens on one strand; it holds itself while
// something is under way.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  using Strand = boost::asio::strand<boost::asio::io_context::executor_type>;
  using Socket = boost::beast::basic_stream<boost::asio::generic::stream_protocol, Strand>;

  // What all connections of a server share. It outlives their use of it, which ends with Close.
  struct Shared {
    HttpHandler handler;
    HttpLimits limits;
    std::atomic<size_t> body_bytes = 0;  // that are being read
    // Runs handlers: they may read from a disk, and whoever writes to viewers must not wait for that.
    WorkerPool* workers = nullptr;
  };

  // Owns `descriptor`, a socket.
  Connection(std::shared_ptr<boost::asio::io_context> context, int descriptor, Shared* shared,
             std::function<void(Connection*)> on_gone);
  ~Connection();

  // All from any thread. `entry`: its place among the connections.
  void Run(std::unique_ptr<ConnectionTable::Entry> entry);
  void Close();
  // Unless a request is being read or answered.
  void CloseIfIdle();

 private:
  friend class ConnectionResponder;
  using Response = boost::beast::http::response<boost::beast::http::string_body>;

  template <typename Body>
  static void PostTo(const std::weak_ptr<Connection>& weak, Body body);
  void Read();
  void SetBusy(bool busy);
  void ReadBody();
  void Release();  // what was claimed
  void OnRequest(BeastRequest request);
  void Answer(HttpAnswer answer);
  // An answer to a request that could not be read.
  void Refuse(boost::beast::error_code why);
  void Send(Response response);
  void Linger();
  void Discard();
  void Begin(const HttpHead& head, std::shared_ptr<HttpStream> stream);
  void AwaitAnswer(std::shared_ptr<HttpWait> wait);
  // Answers if the answer that is waited for is there, or starts the stream's next write if none is under way.
  void Advance();
  void WritePart(HttpStream::Part part);
  void EndStream(bool cut);
  void WatchClient();
  // The receive that looks for the client's going would be in the way of the next request.
  void StopWatchingClient();
  bool waits() const { return stream_ != nullptr || wait_ != nullptr; }
  void Tick();
  void Shut();

  // Whoever answers late finds the context, though nobody runs it any more.
  const std::shared_ptr<boost::asio::io_context> context_;
  Socket socket_;
  boost::asio::basic_waitable_timer<std::chrono::steady_clock, boost::asio::wait_traits<std::chrono::steady_clock>,
                                    Strand>
      timer_;
  Shared* const shared_;
  const std::function<void(Connection*)> on_gone_;
  // Limited, for Beast limits no extension and no trailer of a chunked body.
  boost::beast::flat_buffer buffer_{size_t{64} << 10};
  std::unique_ptr<ConnectionTable::Entry> entry_;
  bool busy_ = false;   // from a request's header on
  size_t claimed_ = 0;  // of Shared::body_bytes
  std::optional<RequestParser> parser_;
  std::optional<Response> response_;

  // Of the request being answered. It holds itself until there is an answer.
  std::shared_ptr<Connection> self_;
  bool head_ = false, keep_alive_ = false;
  bool chunked_ = true;  // HTTP/1.1: a stream's body is sent in chunks
  std::string range_, if_none_match_;

  std::shared_ptr<HttpWait> wait_;  // for the answer

  // Of a stream.
  std::shared_ptr<HttpStream> stream_;
  bool writing_ = false, closed_ = false;
  std::string chunk_head_;
  HttpStream::Part part_;
  std::array<char, 1> unexpected_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_HTTP_CONNECTION_H_
