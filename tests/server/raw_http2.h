// A client that speaks HTTP/2 by hand, so that a test decides which pings it sends and answers.
#ifndef LONGTAKE_TESTS_SERVER_RAW_HTTP2_H_
#define LONGTAKE_TESTS_SERVER_RAW_HTTP2_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace longtake {

class RawHttp2 {
 public:
  enum Type : uint8_t { kData = 0, kHeaders = 1, kReset = 3, kSettings = 4, kPing = 6, kGoAway = 7, kWindow = 8 };
  static constexpr uint8_t kAck = 1;  // flag of kSettings and kPing

  struct Frame {
    uint8_t type = 0, flags = 0;
    std::string payload;
    bool IsPing() const { return type == kPing && (flags & kAck) == 0; }
    bool IsPong() const { return type == kPing && (flags & kAck) != 0; }
  };

  // Connects to 127.0.0.1 and sends the preface.
  explicit RawHttp2(int port);
  ~RawHttp2();
  RawHttp2(const RawHttp2&) = delete;
  RawHttp2& operator=(const RawHttp2&) = delete;

  // Begins a gRPC call with this message; once.
  void Call(const std::string& path, const std::string& message);
  void Ping();
  void Answer(const Frame& ping);

  // The next frame, however long it takes; settings are acknowledged on the way. Nothing: the server has closed the
  // connection, or nothing has come for two minutes.
  std::optional<Frame> Read();
  bool closed() const { return closed_; }  // by the server, as Read has found
  // Pings, and reads until the answer. Answers the server's pings on the way. False: GOAWAY or the end came instead.
  bool PingAndAwaitAnswer();

  const std::string& goaway() const { return goaway_; }  // what the last one said

 private:
  void Send(uint8_t type, uint8_t flags, uint32_t stream, const std::string& payload);
  bool Fill(size_t bytes);

  int connection_ = -1;
  bool closed_ = false;
  std::string received_;
  std::string goaway_;
};

}  // namespace longtake

#endif  // LONGTAKE_TESTS_SERVER_RAW_HTTP2_H_
