// Connections: how many there may be, who may ping how often, and who is missed when he is gone. Times are a small part
// of the server's own; DISABLED_WithTheServersOwnTimes takes two minutes.
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/gate.h"
#include "tests/server/http_client.h"
#include "tests/server/raw_http2.h"
#include "tests/server/server_fixture.h"

namespace longtake::server {
namespace {

constexpr char kGenerate[] = "/longtake.v1.VideoService/GenerateVideo";

class ConnectionsTest : public ServerFixture {
 protected:
  // The engine stops before its first pass, so that all calls are silent.
  void StartSilent(const KeepaliveOptions& keepalive) {
    gate.Close();
    ServerOptions options;
    options.keepalive = keepalive;
    StartAndServe({.max_sessions = 1,
                   .delay =
                       [this](const Pass&) {
                         gate.Pass();
                         return absl::ZeroDuration();
                       }},
                  options);
  }
  void TearDown() override {
    gate.Open();
    ServerFixture::TearDown();
  }

  bool Says(const std::string& metric) { return absl::StrContains(server->MetricsText(), metric); }
  void AwaitWaiting(int requests) {
    Await([&] { return Says(absl::StrCat("longtake_queue_length{delivery=\"live\"} ", requests, "\n")); }, "the queue");
  }

  Gate gate;
};

// Whether the server has closed the connection.
bool Ends(int connection) {
  char bytes[256];
  ssize_t count = 1;
  for (pollfd polled = {.fd = connection, .events = POLLIN, .revents = 0};
       count > 0 && poll(&polled, 1, /*ms=*/60'000) == 1;) {
    count = recv(connection, bytes, sizeof(bytes), 0);  // gRPC's settings come first
  }
  return count <= 0;
}

TEST_F(ConnectionsTest, TheOneThatIsIdleForLongestGivesWayToOthers) {
  gate.Close();
  ServerOptions options;
  options.http_listen = "127.0.0.1:0";
  options.connections = {.all = 3};
  StartAndServe({.delay =
                     [this](const Pass&) {
                       gate.Pass();
                       return absl::ZeroDuration();
                     }},
                options);
  // Two that are busy, one on each port.
  RawHttp2 call(server->port());
  call.Call(kGenerate, Request(1).SerializeAsString());
  AwaitWaiting(0);
  Await([&] { return Says("longtake_sessions{state=\"active\"} 1\n"); }, "the call");
  HttpClient stream(server->http_port());
  const std::string video = stream.Ask("GET", "/v1/videos").json()["data"][0]["id"].get<std::string>();
  // Its first event is that the video was accepted; more do not come.
  EXPECT_EQ(
      stream.Ask("GET", absl::StrCat("/v1/videos/", video, "/watch"), "", "", [](const auto&) { return false; }).status,
      200);
  EXPECT_TRUE(Says("longtake_connections 2\n"));
  const int first = ConnectTo(server->port());
  Await([&] { return Says("longtake_connections 3\n"); }, "three connections");
  const int second = ConnectTo(server->http_port());
  EXPECT_TRUE(Ends(first));
  const int third = ConnectTo(server->port());
  EXPECT_TRUE(Ends(second));
  for (const int connection : {first, second, third}) close(connection);
  Await([&] { return Says("longtake_connections 2\n"); }, "their ends");
  EXPECT_TRUE(Says("longtake_connections_closed_total{which=\"idle\"} 2\n"));
  // The third place is taken by another call, and there is no idle one any more.
  RawHttp2 other(server->port());
  other.Call(kGenerate, Request(1).SerializeAsString());
  Await([&] { return Says("longtake_sessions{state=\"active\"} 2\n"); }, "the other call");
  const int fourth = ConnectTo(server->port());
  EXPECT_TRUE(Ends(fourth));
  close(fourth);
  EXPECT_TRUE(Says("longtake_connections_closed_total{which=\"new\"} 1\n"));
  EXPECT_TRUE(call.PingAndAwaitAnswer());
  EXPECT_TRUE(other.PingAndAwaitAnswer());
}

TEST_F(ConnectionsTest, ClientsMayPingWithAndWithoutACall) {
  StartSilent({.interval = absl::Hours(1), .min_client_interval = absl::Milliseconds(20)});
  RawHttp2 client(server->port());
  for (const bool call : {false, true}) {
    if (call) client.Call(kGenerate, Request(1).SerializeAsString());
    // The next ping is sent at least 40 ms after the server has seen the one before, whatever delays either of them.
    for (int i = 0; i < 10; ++i) {
      ASSERT_TRUE(client.PingAndAwaitAnswer()) << i << " " << client.goaway();
      absl::SleepFor(absl::Milliseconds(40));
    }
  }
}

TEST_F(ConnectionsTest, WhoPingsTooOftenIsDisconnected) {
  StartSilent({.interval = absl::Hours(1), .min_client_interval = absl::Hours(1)});
  RawHttp2 client(server->port());
  int answers = 0;
  while (answers < 20 && client.PingAndAwaitAnswer()) ++answers;
  EXPECT_LT(answers, 10);
  EXPECT_EQ(client.goaway(), "too_many_pings");
}

TEST_F(ConnectionsTest, AVanishedClientIsMissedWithAndWithoutACall) {
  // The timeout is what a client that is still there may be late by on a busy machine.
  StartSilent({.interval = absl::Milliseconds(50), .timeout = absl::Seconds(15)});
  grpc::ClientContext context;
  auto present = stub->GenerateVideo(&context, Request(1));
  Await([&] { return engine->open_sessions() == 1; }, "the first video");
  RawHttp2 waiting(server->port()), idle(server->port());
  waiting.Call(kGenerate, Request(1).SerializeAsString());
  AwaitWaiting(1);
  // By itself gRPC pings only twice where no data goes. These answer more often, in turn, and then are gone: they
  // neither answer nor close their connections.
  for (int pings = 0; pings < 5; ++pings) {
    for (RawHttp2* client : {&waiting, &idle}) {
      std::optional<RawHttp2::Frame> frame;
      do {
        frame = client->Read();
        ASSERT_TRUE(frame.has_value());
      } while (!frame->IsPing());
      client->Answer(*frame);
    }
  }
  AwaitWaiting(0);
  while (idle.Read().has_value()) {
  }
  EXPECT_TRUE(idle.closed());
  EXPECT_EQ(engine->open_sessions(), 1) << "the client that is still there keeps its video";
  gate.Open();
  v1::WatchVideoResponse event;
  while (present->Read(&event)) {
  }
  EXPECT_TRUE(present->Finish().ok());
}

// ./connections_test --gtest_also_run_disabled_tests --gtest_filter=*OwnTimes
TEST_F(ConnectionsTest, DISABLED_WithTheServersOwnTimes) {
  StartSilent({});
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 10'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  const auto pinging = grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", server->port()),
                                                 grpc::InsecureChannelCredentials(), arguments);
  grpc::ClientContext context;
  auto call = v1::VideoService::NewStub(pinging)->GenerateVideo(&context, Request(1));
  Await([&] { return engine->open_sessions() == 1; }, "the first video");
  RawHttp2 idle(server->port()), vanished(server->port());
  vanished.Call(kGenerate, Request(1).SerializeAsString());
  AwaitWaiting(1);
  const absl::Time began = absl::Now();
  absl::Duration missed_after = absl::InfiniteDuration();
  std::thread miss([&] {
    while (Says("longtake_queue_length{delivery=\"live\"} 1\n") && absl::Now() - began < absl::Minutes(2)) {
      absl::SleepFor(absl::Milliseconds(100));
    }
    missed_after = absl::Now() - began;
  });
  for (int i = 0; i < 12; ++i) {
    EXPECT_TRUE(idle.PingAndAwaitAnswer()) << idle.goaway();
    absl::SleepFor(absl::Seconds(10));
  }
  miss.join();
  std::printf("the vanished client was missed after %.1f s\n", absl::ToDoubleSeconds(missed_after));
  EXPECT_LT(missed_after, absl::Seconds(40));
  EXPECT_EQ(pinging->GetState(false), GRPC_CHANNEL_READY);
  gate.Open();
  v1::WatchVideoResponse event;
  while (call->Read(&event)) {
  }
  EXPECT_TRUE(call->Finish().ok());
}

}  // namespace
}  // namespace longtake::server
