// Low-latency HLS over real HTTP: players that are answered when there is something new, and not before.
#include <array>
#include <atomic>
#include <cstdio>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/http/video_wait.h"
#include "server/video/hls_playlist.h"
#include "spdlog/sinks/null_sink.h"
#include "tests/server/checked_viewer.h"
#include "tests/server/fake_clock.h"
#include "tests/server/gate.h"
#include "tests/server/http_client.h"
#include "tests/server/server_fixture.h"

namespace longtake::server {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

class HlsTest : public ServerFixture {
 protected:
  void TearDown() override {
    decoded = 1'000'000;  // what the engine waits for
    ServerFixture::TearDown();
  }
  // The engine decodes as many latent frames as `decoded` says.
  void StartHttp(ServerOptions options = {}) {
    options.http_listen = "127.0.0.1:0";
    StartAndServe({.delay =
                       [this, decodes = 0](const Pass& pass) mutable {
                         if (pass.kind == PassKind::kDecode) {
                           Await([&, wanted = ++decodes] { return decoded >= wanted; }, "the next chunk's turn");
                         }
                         return absl::ZeroDuration();
                       }},
                  std::move(options));
  }
  HttpReply Ask(const std::string& method, const std::string& path, const std::string& body = {}) const {
    return HttpClient(server->http_port()).Ask(method, path, body);
  }
  HttpReply Get(const std::string& path) const { return Ask("GET", path); }
  // Creates a video of blocks of 3, 2, 2, 2 latent frames, each of them a chunk. Returns "/v1/videos/{id}".
  std::string Create(bool offline = false) const {
    const json request = {{"prompt", "a red ball"}, {"seconds", 2}, {"seed", 1}, {"offline", offline}};
    const HttpReply reply = Ask("POST", "/v1/videos", request.dump());
    EXPECT_EQ(reply.status, 200) << reply.body;
    return absl::StrCat("/v1/videos/", reply.json()["id"].get<std::string>());
  }
  std::string Playlist(const std::string& video) const { return Get(video + "/index.m3u8").body; }
  // Until a chunk is listed, and not only hinted at.
  void AwaitChunk(const std::string& video, const ChunkNumber& chunk) {
    const std::string line = absl::StrCat("#EXT-X-PART:DURATION=0.250000,URI=\"", ChunkFile(chunk), "\"");
    Await([&] { return absl::StrContains(Playlist(video), line); }, line.c_str());
  }
  // A request that has been sent, and is read later.
  std::unique_ptr<HttpClient> Send(const std::string& path) const {
    auto client = std::make_unique<HttpClient>(server->http_port());
    client->Send(absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    return client;
  }

  std::atomic<int> decoded = 0;
};

TEST_F(HlsTest, ABlockingReloadIsAnsweredWhenItsChunkIsThere) {
  StartHttp();
  const std::string video = Create();
  decoded = 4;  // the first block, and a chunk of the second
  AwaitChunk(video, {1, 0});
  const std::string before = Playlist(video);
  EXPECT_THAT(before, HasSubstr("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"block-00001.1.m4s\"\n"));
  EXPECT_THAT(before, HasSubstr("CAN-BLOCK-RELOAD=YES"));

  const auto chunk = Send(video + "/index.m3u8?_HLS_msn=1&_HLS_part=1"), block = Send(video + "/index.m3u8?_HLS_msn=1"),
             next = Send(video + "/index.m3u8?_HLS_msn=1&_HLS_part=2"), hinted = Send(video + "/block-00001.1.m4s");
  // What is there already is answered at once.
  EXPECT_EQ(Get(video + "/index.m3u8?_HLS_msn=1&_HLS_part=0").body, before);
  EXPECT_EQ(Get(video + "/index.m3u8?_HLS_msn=0").body, before);
  decoded = 5;  // the second block is whole
  const HttpReply reloaded = chunk->Read();
  EXPECT_EQ(reloaded.status, 200);
  EXPECT_THAT(reloaded.body, HasSubstr("URI=\"block-00001.1.m4s\"\n#EXTINF:0.500000,\nblock-00001.m4s\n"));
  EXPECT_EQ(reloaded.headers.at("cache-control"), "public, max-age=6");
  EXPECT_THAT(block->Read().body, HasSubstr("\nblock-00001.m4s\n"));
  const HttpReply bytes = hinted->Read();
  EXPECT_EQ(bytes.status, 200);
  EXPECT_EQ(bytes.headers.at("content-type"), "video/mp4");
  EXPECT_THAT(bytes.headers.at("cache-control"), HasSubstr("immutable"));
  EXPECT_EQ(Get(video + "/block-00001.0.m4s").body + bytes.body, Get(video + "/block-00001.m4s").body);
  decoded = 6;
  // A chunk behind its block's last one is the next block's first.
  EXPECT_THAT(next->Read().body, HasSubstr("block-00002.0.m4s\",INDEPENDENT=YES\n"));
  // A connection that was waited on serves the next request.
  EXPECT_EQ(chunk->Ask("GET", "/healthz").body, "ok\n");
}

TEST_F(HlsTest, ChunksAreTheirBlocksBytes) {
  decoded = 1'000'000;
  StartHttp();
  const std::string video = Create();
  ASSERT_TRUE(Watch(video.substr(4)).status.ok());
  std::vector<int> chunks;
  for (int block = 0; block < 4; ++block) {
    std::string joined;
    int index = 0;
    for (;; ++index) {
      const HttpReply chunk = Get(absl::StrCat(video, "/block-0000", block, ".", index, ".m4s"));
      if (chunk.status != 200) {
        EXPECT_EQ(chunk.status, 404);
        break;
      }
      joined += chunk.body;
    }
    chunks.push_back(index);
    EXPECT_EQ(joined, Get(absl::StrCat(video, "/block-0000", block, ".m4s")).body) << block;
  }
  EXPECT_THAT(chunks, testing::ElementsAre(3, 2, 2, 2));
  const std::string etag = Get(video + "/block-00001.0.m4s").headers.at("etag");
  EXPECT_NE(etag, Get(video + "/block-00001.1.m4s").headers.at("etag"));
  EXPECT_NE(etag, Get(video + "/block-00001.m4s").headers.at("etag"));
}

TEST_F(HlsTest, TheEndAnswersWhoWaits) {
  StartHttp();
  const std::string made = Create();
  decoded = 8;  // all but the last chunk
  AwaitChunk(made, {3, 0});
  const auto behind = Send(made + "/index.m3u8?_HLS_msn=4");
  decoded = 9;
  const HttpReply ended = behind->Read();
  EXPECT_EQ(ended.status, 200);
  EXPECT_TRUE(absl::EndsWith(ended.body, "block-00003.m4s\n#EXT-X-ENDLIST\n")) << ended.body;
  // From then on nothing is waited for.
  EXPECT_EQ(Get(made + "/index.m3u8?_HLS_msn=999&_HLS_part=999").body, ended.body);
  EXPECT_EQ(Get(made + "/block-00003.2.m4s").status, 404);

  decoded = 9 + 4;
  const std::string cancelled = Create();
  AwaitChunk(cancelled, {1, 0});
  const auto playlist = Send(cancelled + "/index.m3u8?_HLS_msn=1&_HLS_part=1"),
             chunk = Send(cancelled + "/block-00001.1.m4s");
  EXPECT_EQ(Ask("POST", cancelled + "/cancel").status, 200);
  decoded = 1'000'000;
  EXPECT_TRUE(absl::EndsWith(playlist->Read().body, "block-00000.m4s\n#EXT-X-ENDLIST\n"));
  EXPECT_EQ(chunk->Read().status, 404);
}

TEST_F(HlsTest, ADeletedVideoIsWaitedForNoLonger) {
  decoded = 4;
  StartHttp();
  const std::string video = Create();
  AwaitChunk(video, {1, 0});
  const auto playlist = Send(video + "/index.m3u8?_HLS_msn=2"), chunk = Send(video + "/block-00001.1.m4s");
  EXPECT_EQ(Ask("DELETE", video).status, 200);
  EXPECT_EQ(chunk->Read().status, 404);
  EXPECT_NE(playlist->Read().status, 0);
}

TEST_F(HlsTest, BadDirectivesNameTheirParameter) {
  decoded = 4;
  StartHttp();
  const std::string video = Create();
  AwaitChunk(video, {1, 0});
  const auto refused = [&](const std::string& query) {
    const HttpReply reply = Get(absl::StrCat(video, "/index.m3u8?", query));
    return reply.status == 400 ? reply.json()["error"]["param"].get<std::string>() : absl::StrCat(reply.status);
  };
  EXPECT_EQ(refused("_HLS_msn=3"), "_HLS_msn") << "too far ahead";
  EXPECT_EQ(refused("_HLS_msn=1&_HLS_part=13"), "_HLS_part");
  EXPECT_EQ(refused("_HLS_part=0"), "_HLS_part");
  EXPECT_EQ(refused("_HLS_msn=x"), "_HLS_msn");
  EXPECT_EQ(refused("_HLS_msn=-1"), "_HLS_msn");
  EXPECT_EQ(refused("_HLS_skip=YES"), "200") << "the playlist does not offer it";
  EXPECT_EQ(Get(video + "/block-00001.2.m4s").status, 404) << "only the next chunk is waited for";
  EXPECT_EQ(Get(video + "/block-00002.0.m4s").status, 404);
  EXPECT_EQ(Get(video + "/block-00099.0.m4s").status, 404);
}

TEST_F(HlsTest, AnOfflineVideoIsAPlainPresentation) {
  decoded = 4;
  StartHttp();
  const std::string video = Create(/*offline=*/true);
  Await([&] { return absl::StrContains(Playlist(video), "block-00000.m4s"); }, "the first block");
  // Nobody is told that the server waits, so it does not.
  const std::string list = Get(video + "/index.m3u8?_HLS_msn=2").body;
  EXPECT_THAT(list, testing::AllOf(HasSubstr("block-00000.m4s"), Not(HasSubstr("EXT-X-PART")),
                                   Not(HasSubstr("CAN-BLOCK-RELOAD")), Not(HasSubstr("PRELOAD-HINT"))));
  EXPECT_EQ(Get(video + "/block-00001.1.m4s").status, 404);
}

TEST_F(HlsTest, TheServerEndsWithPlayersThatWait) {
  decoded = 4;
  StartHttp();
  const std::string video = Create();
  AwaitChunk(video, {1, 0});
  Send(video + "/index.m3u8?_HLS_msn=1");  // one that goes at once
  const auto playlist = Send(video + "/index.m3u8?_HLS_msn=1"), chunk = Send(video + "/block-00001.1.m4s");
  server->Stop(/*grace=*/false);
  decoded = 1'000'000;
  ASSERT_TRUE(server->AwaitStopped(absl::Minutes(1)));
  server.reset();
  playlist->AwaitEnd();
  chunk->AwaitEnd();
}

TEST_F(HlsTest, APlayerFollowsThePlaylistToTheEnd) {
  logger.set_level(spdlog::level::debug);  // the lines of calls
  decoded = 4;
  StartHttp();
  const std::string video = Create();
  AwaitChunk(video, {1, 0});
  const std::string command =
      absl::StrCat("ffmpeg -v error -live_start_index 0 -i http://127.0.0.1:", server->http_port(), video,
                   "/index.m3u8 -f framemd5 - 2>&1");
  std::future<std::string> player = std::async(std::launch::async, [&] {
    std::string text;
    std::array<char, 4096> buffer;
    FILE* pipe = popen(command.c_str(), "r");
    for (size_t size = 0; (size = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) text.append(buffer.data(), size);
    EXPECT_EQ(pclose(pipe), 0) << text;
    return text;
  });
  // It has begun, and knows one block of four.
  Await([&] { return absl::StrContains(LogText(), "init.mp4"); }, "the player");
  decoded = 1'000'000;
  const std::string frames = player.get();
  int64_t count = 0;
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(frames, '\n', absl::SkipEmpty()))) {
    if (line[0] != '#') ++count;
  }
  EXPECT_EQ(count, 33) << frames;
}

// Without a server: a wait as its connection has it.
class VideoWaitTest : public testing::Test {
 protected:
  FakeClock clock;
  Metrics metrics;
  spdlog::logger logger{"test", std::make_shared<spdlog::sinks::null_sink_mt>()};
  StudioSlot slot;
};

TEST_F(VideoWaitTest, AnswersWhenItFindsSomethingAndGivesUpAfterItsLimit) {
  StudioOptions options;
  options.max_wait = absl::InfiniteDuration();
  Gate gate;
  gate.Close();
  FakeEngineOptions engine_options{.model = FakeModel()};
  engine_options.delay = [&](const Pass&) {
    gate.Pass();
    return absl::ZeroDuration();
  };
  Studio studio(options, std::make_unique<FakeEngine>(engine_options), PlainSerializer, &clock, &metrics, &logger,
                /*with_thread=*/false);
  std::promise<std::shared_ptr<Video>> answer;
  studio.Create({.spec = {.prompt = "a red ball", .seed = 1, .duration = absl::Seconds(1)},
                 .default_disconnect = Disconnect::kContinue},
                [&](const absl::StatusOr<std::shared_ptr<Video>>& created) { answer.set_value(*created); });
  const std::shared_ptr<Video> video = answer.get_future().get();
  absl::Duration waited;
  bool there = false;
  std::atomic<int> told = 0;
  auto wait = VideoWait::Open(&slot, video, absl::Seconds(3), [&](absl::Duration so_long) {
    waited = so_long;
    return there ? std::optional<HttpAnswer>(HttpAnswer{.body = "found"}) : std::nullopt;
  });
  EXPECT_TRUE(slot.has_calls()) << "the server must not end below it";
  wait->Start([&] { ++told; });
  EXPECT_FALSE(wait->Look().has_value());
  clock.Advance(absl::Seconds(3));
  EXPECT_FALSE(wait->Look().has_value());
  EXPECT_EQ(waited, absl::Seconds(3));
  // Whatever happens to the video is told, once for each look.
  told = 0;
  video->log().Tell();
  video->log().Tell();
  EXPECT_EQ(told, 1);
  clock.Advance(absl::Milliseconds(1));
  const std::optional<HttpAnswer> given_up = wait->Look();
  ASSERT_TRUE(given_up.has_value());
  EXPECT_EQ(given_up->status, 503);
  there = true;
  EXPECT_EQ(wait->Look()->body, "found") << "what is there is better than giving up";
  wait.reset();
  EXPECT_FALSE(slot.has_calls());
  gate.Open();
}

}  // namespace
}  // namespace longtake::server
