// Clients that stop reading, as real processes over real sockets: what is made for them, and for others beside them.
//   stopped_client_test --client=PORT,SEED    is such a client: reads three chunks and stops itself
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/server_fixture.h"

namespace longtake::server {
namespace {

const char* program = nullptr;

constexpr int kChunksRead = 3;  // the first block's
// Chunks, which are latent frames, of which one that has read so many and no whole block more is made at least: the
// first block's three, and two blocks of two that may be undelivered.
constexpr int kChunksMade = 3 + 2 + 2;
constexpr double kSeconds = 10;
// HTTP/2's initial window. gRPC would widen it by what it measures, so the client turns that off: then this is what it
// holds unread, beside the message that it waits for.
constexpr int64_t kWindow = 64 << 10;
// What the server's kernel holds: TCP_NOTSENT_LOWAT, and one buffer more by which a write may pass it.
constexpr int64_t kUnsent = (16 << 10) + (64 << 10);

v1::GenerateVideoRequest LongRequest(int64_t seed) {
  v1::GenerateVideoRequest request = Request(kSeconds, seed);
  request.set_without_progress(true);
  return request;
}

// Noise does not compress: a chunk is larger than any buffer on its way.
FakeEngineOptions NoisyEngine(int sessions) {
  FakeEngineOptions options{.model = FakeModel(), .max_sessions = sessions, .noisy = true};
  options.model.sizes = {{320, 240}};
  options.model.frame_tokens = {300};
  return options;
}

int RunClient(const std::string& port, int64_t seed) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  const auto stub = v1::VideoService::NewStub(
      grpc::CreateCustomChannel("127.0.0.1:" + port, grpc::InsecureChannelCredentials(), arguments));
  grpc::ClientContext context;
  const auto reader = stub->GenerateVideo(&context, LongRequest(seed));
  v1::WatchVideoResponse event;
  for (int chunks = 0; chunks < kChunksRead;) {
    if (!reader->Read(&event)) return 1;
    chunks += event.has_chunk() && LastPart(event.chunk()) ? 1 : 0;
  }
  raise(SIGSTOP);
  return 0;
}

// A client in a process of its own; killed in the end.
class Client {
 public:
  Client(int port, int64_t seed) {
    std::string argument = absl::StrCat("--client=", port, ",", seed);
    char* arguments[] = {const_cast<char*>(program), argument.data(), nullptr};
    EXPECT_EQ(posix_spawn(&pid_, program, nullptr, nullptr, arguments, environ), 0);
  }
  ~Client() { Kill(); }
  Client(Client&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}

  // Blocks until it has read its chunks.
  void AwaitStop() const {
    int status = 0;
    ASSERT_EQ(waitpid(pid_, &status, WUNTRACED), pid_);
    ASSERT_TRUE(WIFSTOPPED(status)) << "it has ended by itself: " << status;
  }
  void Kill() {
    if (pid_ < 0) return;
    kill(pid_, SIGKILL);
    waitpid(std::exchange(pid_, -1), nullptr, 0);
  }

 private:
  pid_t pid_ = -1;
};

class StoppedClient : public ServerFixture {
 protected:
  double Value(const std::string& name) const {
    for (const std::string& line : std::vector<std::string>(absl::StrSplit(server->MetricsText(), '\n'))) {
      if (absl::StartsWith(line, name + " ")) return std::stod(line.substr(name.size() + 1));
    }
    return -1;
  }
  // The videos of stopped clients, of the seeds from 1 on, wait for them, and nothing is under way. Until the server
  // has seen that the first block has gone out, a video waits after two blocks, so the decoded chunks are counted too.
  void AwaitAsleep(int videos) {
    for (int seed = 1; seed <= videos; ++seed) {
      Await([&] { return Decoded(seed) >= kChunksMade; }, "what is made for a stopped client");
    }
    Await(
        [&] {
          return Value("longtake_sessions{state=\"asleep\"}") == videos && Value("longtake_passes_in_flight") == 0;
        },
        "the sleep of the stopped clients' videos");
  }
  // On a busy machine the last client may stop minutes after the first. Meanwhile none is given up for reading nothing,
  // or for leaving the server's pings without an answer.
  void StartNoisy(int sessions) {
    ServerOptions options;
    options.studio.max_unread = absl::Hours(1);
    options.keepalive.interval = absl::Hours(1);
    StartAndServe(NoisyEngine(sessions), options);
  }
  // Of the video of this seed; each becomes a chunk, once it is encoded.
  int64_t Decoded(uint64_t seed) const {
    const std::vector<FakeEngine::Ran> ran = engine->ran();
    return std::count_if(ran.begin(), ran.end(), [seed](const FakeEngine::Ran& pass) {
      return pass.kind == PassKind::kDecode && pass.seed == seed;
    });
  }
  // All that is in its log.
  Watched Log(const std::string& name) {
    v1::WatchVideoRequest request;
    request.set_name(name);
    request.set_follow(false);
    grpc::ClientContext context;
    return ReadAll(context, *stub->WatchVideo(&context, request), nullptr);
  }
};

TEST_F(StoppedClient, GetsLittleMoreThanItCanHold) {
  StartNoisy(2);
  Client client(server->port(), 1);
  client.AwaitStop();
  AwaitAsleep(1);
  v1::ListVideosResponse videos;
  grpc::ClientContext context;
  ASSERT_TRUE(stub->ListVideos(&context, {}, &videos).ok());
  ASSERT_EQ(videos.videos_size(), 1);
  const v1::Video& video = videos.videos(0);
  // Its own log, as another viewer would get it, says what chunks there are.
  Watched made;
  Await(
      [&] {
        made = Log(video.name());
        const std::vector<const v1::Chunk*> parts = made.chunks();
        return std::count_if(parts.begin(), parts.end(), [](const v1::Chunk* part) { return LastPart(*part); }) ==
               Decoded(1);
      },
      "the encoder");
  ASSERT_TRUE(made.status.ok());
  std::vector<const v1::Chunk*> chunks = made.chunks();
  ASSERT_GT(chunks.size(), size_t{kChunksRead});
  int64_t held = 0, largest = 0;
  double held_until = 0, made_until = 0;
  for (size_t i = 0; i < chunks.size(); ++i) {
    const v1::Chunk& chunk = *chunks[i];
    largest = std::max(largest, chunk.size_bytes());
    if (i >= kChunksRead) held += chunk.size_bytes();
    made_until = Seconds(chunk.pts_offset()) + Seconds(chunk.duration());
    if (held <= kWindow + kUnsent + largest) held_until = made_until;
  }
  EXPECT_LE(made_until - held_until, 3.0);
  EXPECT_LT(made_until, kSeconds / 2) << "chunks are too small for this test";
  EXPECT_EQ(Value("longtake_live_load_ratio"), 0) << "it needs nothing";
  Await([&] { return Value("longtake_live_viewers{stalled=\"true\"}") == 1; }, "its stall");
  client.Kill();
  Await([&] { return Value("longtake_live_viewers_left_total{outcome=\"stalled\"}") == 1; }, "its end");
  // Its first block may have stalled too, where encoding it took long.
  EXPECT_GE(Value("longtake_stalls_total"), 1);
}

TEST_F(StoppedClient, TenOfThemDoNotDelayAnother) {
  StartNoisy(12);
  std::vector<Client> clients;
  for (int64_t seed = 1; seed <= 10; ++seed) clients.emplace_back(server->port(), seed);
  for (const Client& client : clients) client.AwaitStop();
  AwaitAsleep(10);
  EXPECT_EQ(Value("longtake_live_load_ratio"), 0);
  const size_t before = engine->ran().size();
  const Watched eleventh = Generate(LongRequest(11));
  ASSERT_TRUE(eleventh.status.ok()) << eleventh.status.error_message();
  EXPECT_EQ(Seconds(eleventh.accepted().quote().start_delay()), 0);
  const std::vector<FakeEngine::Ran> ran = engine->ran();
  std::set<uint64_t> seeds;
  for (size_t i = before; i < ran.size(); ++i) seeds.insert(ran[i].seed);
  EXPECT_THAT(seeds, testing::ElementsAre(11)) << "the device worked for nobody else";
}

}  // namespace
}  // namespace longtake::server

int main(int argc, char** argv) {
  using namespace longtake::server;
  program = argv[0];
  absl::string_view client = argc > 1 ? argv[1] : "";
  if (absl::ConsumePrefix(&client, "--client=")) {
    const std::pair<std::string, std::string> port_and_seed = absl::StrSplit(client, ',');
    return RunClient(port_and_seed.first, std::stoll(port_and_seed.second));
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
