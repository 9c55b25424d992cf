#include "tests/server/raw_http2.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/server/http_get.h"

namespace longtake {
namespace {

constexpr size_t kFrameHeader = 9;

std::string BigEndian(uint64_t value, int bytes) {
  std::string out;
  for (int i = bytes - 1; i >= 0; --i) out.push_back(static_cast<char>(value >> (8 * i) & 0xff));
  return out;
}

// HPACK: a literal field that is not indexed; both strings are shorter than 127 bytes.
std::string Field(const std::string& name, const std::string& value) {
  const auto text = [](const std::string& s) { return std::string(1, static_cast<char>(s.size())) + s; };
  return absl::StrCat(std::string(1, '\0'), text(name), text(value));
}

}  // namespace

RawHttp2::RawHttp2(int port) : connection_(ConnectTo(port)) {
  EXPECT_GE(connection_, 0);
  const timeval patience{.tv_sec = 120, .tv_usec = 0};
  setsockopt(connection_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  const std::string preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  EXPECT_EQ(send(connection_, preface.data(), preface.size(), MSG_NOSIGNAL), static_cast<ssize_t>(preface.size()));
  Send(kSettings, 0, 0, "");
}

RawHttp2::~RawHttp2() { close(connection_); }

void RawHttp2::Send(uint8_t type, uint8_t flags, uint32_t stream, const std::string& payload) {
  const std::string frame = absl::StrCat(BigEndian(payload.size(), 3), BigEndian(type, 1), BigEndian(flags, 1),
                                         BigEndian(stream, 4), payload);
  // What cannot be sent any more shows at the next Read.
  (void)!send(connection_, frame.data(), frame.size(), MSG_NOSIGNAL);
}

void RawHttp2::Call(const std::string& path, const std::string& message) {
  constexpr uint8_t kEndStream = 1, kEndHeaders = 4;
  Send(kHeaders, kEndHeaders, 1,
       absl::StrCat(Field(":method", "POST"), Field(":scheme", "http"), Field(":path", path),
                    Field(":authority", "localhost"), Field("te", "trailers"),
                    Field("content-type", "application/grpc")));
  Send(kData, kEndStream, 1, absl::StrCat(BigEndian(0, 1), BigEndian(message.size(), 4), message));
}

void RawHttp2::Ping() { Send(kPing, 0, 0, "longtake"); }
void RawHttp2::Answer(const Frame& ping) { Send(kPing, kAck, 0, ping.payload); }

bool RawHttp2::Fill(size_t bytes) {
  std::array<char, 4096> buffer;
  while (received_.size() < bytes) {
    const ssize_t size = recv(connection_, buffer.data(), buffer.size(), 0);
    if (size <= 0) {
      closed_ = size == 0 || errno == ECONNRESET;
      return false;
    }
    received_.append(buffer.data(), size);
  }
  return true;
}

std::optional<RawHttp2::Frame> RawHttp2::Read() {
  while (true) {
    if (!Fill(kFrameHeader)) return std::nullopt;
    const auto byte = [this](size_t i) { return static_cast<size_t>(static_cast<uint8_t>(received_[i])); };
    const size_t size = byte(0) << 16 | byte(1) << 8 | byte(2);
    if (!Fill(kFrameHeader + size)) return std::nullopt;
    Frame frame{.type = static_cast<uint8_t>(byte(3)),
                .flags = static_cast<uint8_t>(byte(4)),
                .payload = received_.substr(kFrameHeader, size)};
    received_.erase(0, kFrameHeader + size);
    if (frame.type == kGoAway && size >= 8) goaway_ = frame.payload.substr(8);
    if (frame.type != kSettings) return frame;
    if ((frame.flags & kAck) == 0) Send(kSettings, kAck, 0, "");
  }
}

bool RawHttp2::PingAndAwaitAnswer() {
  Ping();
  while (const std::optional<Frame> frame = Read()) {
    if (frame->type == kGoAway) return false;
    if (frame->IsPing()) Answer(*frame);
    if (frame->IsPong()) return true;
  }
  return false;
}

}  // namespace longtake
