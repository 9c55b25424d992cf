// Videos over HTTP: what programs and browsers get.
#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/access_fixture.h"
#include "tests/server/http_client.h"
#include "tests/server/server_fixture.h"

namespace longtake::server {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class HttpTest : public ServerFixture {
 protected:
  void StartHttp(FakeEngineOptions engine_options = {}, ServerOptions options = {}) {
    options.http_listen = "127.0.0.1:0";
    StartAndServe(std::move(engine_options), std::move(options));
  }
  HttpReply Ask(const std::string& method, const std::string& path, const std::string& body = {},
                const std::string& headers = {}) const {
    return HttpClient(server->http_port()).Ask(method, path, body, headers);
  }
  // Creates a video and returns "/v1/videos/{id}".
  std::string Create(const json& request) const {
    const HttpReply reply = Ask("POST", "/v1/videos", request.dump());
    EXPECT_EQ(reply.status, 200) << reply.body;
    return absl::StrCat("/v1/videos/", reply.json()["id"].get<std::string>());
  }
  static json TwoSeconds() { return {{"prompt", "a red ball"}, {"seconds", 2}, {"seed", 1}}; }
  // What gRPC says of it.
  Watched WatchByGrpc(const std::string& path) { return Watch(path.substr(4)); }
  // The lines of a watch, and its media.
  struct Events {
    std::vector<json> events;
    std::string media;
  };
  static Events Parse(const std::string& body) {
    Events out;
    for (size_t at = 0; at < body.size();) {
      const size_t end = body.find('\n', at);
      const json event = json::parse(body.substr(at, end - at));
      const size_t bytes = event.value("bytes", size_t{0});
      out.media += body.substr(end + 1, bytes);
      out.events.push_back(event);
      at = end + 1 + bytes;
    }
    return out;
  }
  int Viewers(const std::string& path) const { return Ask("GET", path).json()["viewers"].get<int>(); }
};

TEST_F(HttpTest, OneGrowingFileHasTheBytesOfGrpc) {
  StartHttp();
  const std::string video = Create(TwoSeconds());
  const HttpReply stream = Ask("GET", video + "/stream.mp4");
  EXPECT_EQ(stream.status, 200);
  EXPECT_EQ(stream.headers.at("content-type"), "video/mp4");
  EXPECT_TRUE(stream.whole);
  EXPECT_EQ(stream.body, WatchByGrpc(video).bytes);
  EXPECT_EQ(Ask("GET", video + "/content").body, stream.body);
  const HttpReply made = Ask("GET", video);
  EXPECT_EQ(made.json()["status"], "completed");
  EXPECT_EQ(made.json()["progress"], 100);
  EXPECT_EQ(made.json()["seconds"], "2.06");
  EXPECT_EQ(made.json()["model"], "fake");
  const json list = Ask("GET", "/v1/videos").json();
  EXPECT_EQ(list["data"].size(), 1u);
  EXPECT_EQ(list["has_more"], false);
  const json model = Ask("GET", "/v1/models").json()["data"][0];
  EXPECT_EQ(model["id"], "fake");
  EXPECT_EQ(model["about"], FakeModel().about);
  EXPECT_EQ(model["examples"], json(FakeModel().examples));
}

TEST_F(HttpTest, TheDecoderIsAskedForByName) {
  FakeEngineOptions engine;
  engine.model = FakeModel();
  engine.model.has_tiny_decoder = true;
  StartHttp(engine);
  EXPECT_EQ(Ask("GET", "/v1/models").json()["data"][0]["decoders"], json({"full", "tiny"}));
  json request = TwoSeconds();
  EXPECT_EQ(Ask("GET", Create(request)).json()["decoder"], "full");
  request["decoder"] = "tiny";
  EXPECT_EQ(Ask("GET", Create(request)).json()["decoder"], "tiny");
  request["decoder"] = "small";
  EXPECT_THAT(Ask("POST", "/v1/videos", request.dump()).json()["error"]["message"].get<std::string>(),
              HasSubstr("decoder: is not full or tiny"));
}

TEST_F(HttpTest, AdaptersAreAskedForByName) {
  FakeEngineOptions engine;
  engine.model = FakeModel();
  engine.model.adapters = {{"camera", "0000000000000001"}, {"style", "0000000000000002"}};
  StartHttp(engine);
  EXPECT_EQ(Ask("GET", "/v1/models").json()["data"][0]["adapters"], json({"camera", "style"}));
  json request = TwoSeconds();
  request["adapters"] = {{{"name", "style"}, {"strength", 0.5}}, {{"name", "camera"}}};
  const json asked = {{{"name", "style"}, {"strength", 0.5}}, {{"name", "camera"}, {"strength", 1.0}}};
  EXPECT_EQ(Ask("GET", Create(request)).json()["adapters"], asked);
  const auto refused = [&](const json& adapters, const std::string& why) {
    request["adapters"] = adapters;
    EXPECT_THAT(Ask("POST", "/v1/videos", request.dump()).json()["error"]["message"].get<std::string>(),
                HasSubstr(why));
  };
  refused("style", "adapters: is not a list");
  refused({"style"}, "adapters[0]: is not an object");
  refused({{{"name", "style"}, {"strength", "1"}}}, "adapters[0].strength: is not a number");
  refused({{{"name", "other"}}}, "adapters[0].name: there is none of that name; the names are camera, style");
}

TEST_F(HttpTest, EventsComeWithTheirMedia) {
  StartHttp();
  json request = TwoSeconds();
  request["prompt_changes"] = {{{"prompt", "night falls"}, {"at_seconds", 1.0}}};
  const std::string video = Create(request);
  const Events seen = Parse(Ask("GET", video + "/watch").body);
  const Watched by_grpc = WatchByGrpc(video);
  EXPECT_EQ(seen.media, by_grpc.bytes);
  ASSERT_GE(seen.events.size(), 4u);
  EXPECT_EQ(seen.events.front()["event"], "accepted");
  EXPECT_THAT(seen.events.front()["media_type"].get<std::string>(), HasSubstr("codecs=\"avc1."));
  EXPECT_EQ(seen.events.back()["event"], "finished");
  size_t chunks = 0;
  std::vector<int> prompts;
  for (const json& event : seen.events) {
    if (event["event"] == "chunk") ++chunks;
    if (event["event"] == "prompt_changed") prompts.push_back(event["prompt"]);
  }
  EXPECT_EQ(chunks, by_grpc.chunks().size());
  EXPECT_THAT(prompts, testing::ElementsAre(0, 1));
  // From a block on.
  const Events rest = Parse(Ask("GET", video + "/watch?from_block=2").body);
  EXPECT_TRUE(absl::EndsWith(seen.media, rest.media.substr(rest.events[1]["bytes"].get<size_t>())));
  EXPECT_LT(rest.media.size(), seen.media.size());
}

TEST_F(HttpTest, HlsHasFinishedBlocksThatCachesMayKeep) {
  StartHttp({.delay = HoldBefore(PassKind::kCommit, 3, "the playlist of two blocks")});
  const std::string video = Create(TwoSeconds());
  const auto playlist = [&] { return Ask("GET", video + "/index.m3u8").body; };
  Await([&] { return absl::StrContains(playlist(), "block-00001.m4s"); }, "two blocks");
  EXPECT_THAT(playlist(), testing::Not(HasSubstr("block-00002.m4s")));
  EXPECT_THAT(playlist(), testing::Not(HasSubstr("#EXT-X-ENDLIST")));
  EXPECT_EQ(Ask("GET", video + "/block-00002.m4s").status, 404) << "not made yet";
  go_on = true;
  const std::string bytes = WatchByGrpc(video).bytes;
  std::string joined = Ask("GET", video + "/init.mp4").body;
  Await([&] { return absl::StrContains(playlist(), "#EXT-X-ENDLIST"); }, "the end");
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(playlist(), '\n'))) {
    if (!line.empty() && line[0] != '#') joined += Ask("GET", absl::StrCat(video, "/", line)).body;
  }
  EXPECT_EQ(joined, bytes);

  const HttpReply block = Ask("GET", video + "/block-00001.m4s");
  EXPECT_THAT(block.headers.at("cache-control"), HasSubstr("immutable"));
  const std::string etag = block.headers.at("etag");
  EXPECT_EQ(Ask("GET", video + "/block-00001.m4s", "", "If-None-Match: " + etag + "\r\n").status, 304);
  const HttpReply part = Ask("GET", video + "/block-00001.m4s", "", "Range: bytes=10-19\r\n");
  EXPECT_EQ(part.status, 206);
  EXPECT_EQ(part.body, block.body.substr(10, 10));
  EXPECT_EQ(part.headers.at("content-range"), absl::StrCat("bytes 10-19/", block.body.size()));
  EXPECT_EQ(Ask("GET", video + "/block-00001.m4s", "", "Range: bytes=-5\r\n").body,
            block.body.substr(block.body.size() - 5));
  EXPECT_EQ(Ask("GET", video + "/block-00001.m4s", "", "Range: bytes=999999999-\r\n").status, 416);
  EXPECT_EQ(Ask("GET", video + "/block-00001.m4s", "", "Range: nonsense\r\n").status, 200);
  EXPECT_EQ(Ask("GET", video + "/block-99.m4s").status, 404);
  EXPECT_EQ(Ask("GET", video + "/block-x.m4s").status, 404);
}

TEST_F(HttpTest, AVideoIsDirected) {
  StartHttp({.delay = HoldBefore(PassKind::kCommit, 2, "the changes")});
  const std::string video = Create(TwoSeconds());
  const HttpReply changed = Ask("POST", video + "/prompt", R"({"prompt": "night falls", "at_seconds": 1.5})");
  EXPECT_EQ(changed.status, 200) << changed.body;
  EXPECT_EQ(changed.json(), (json{{"prompt", 1}, {"block", 3}, {"start", 25.0 / 16}}));
  Await([&] { return Ask("GET", video).json()["made_blocks"] == 1; }, "the first block");
  const HttpReply fork = Ask("POST", video + "/fork", R"({"from_block": 1, "prompt": "the sun rises"})");
  EXPECT_EQ(fork.status, 200) << fork.body;
  EXPECT_EQ(Ask("POST", video + "/fork", R"({"from_block": 3, "prompt": "too early"})").json()["error"]["code"],
            "BLOCK_NOT_MADE");
  go_on = true;
  EXPECT_TRUE(WatchByGrpc(video).status.ok());
  const std::string forked = absl::StrCat("/v1/videos/", fork.json()["id"].get<std::string>());
  EXPECT_TRUE(WatchByGrpc(forked).status.ok());
  const HttpReply late = Ask("POST", video + "/prompt", R"({"prompt": "x"})");
  EXPECT_EQ(late.status, 409);
  EXPECT_EQ(late.json()["error"]["code"], "VIDEO_ENDED");
  const HttpReply deleted = Ask("DELETE", video);
  EXPECT_EQ(deleted.json()["deleted"], true);
  EXPECT_EQ(Ask("GET", video).status, 404);
}

TEST_F(HttpTest, ACancelledVideoIsCutAndSaysWhy) {
  StartHttp({.delay = HoldBefore(PassKind::kCommit, 2, "the cancellation")});
  const std::string video = Create(TwoSeconds());
  HttpClient file(server->http_port()), events(server->http_port());
  bool cancelled = false;
  const auto cancel = [&](const std::string& body) {
    if (!std::exchange(cancelled, cancelled || body.size() > 1000) && cancelled) {
      EXPECT_EQ(Ask("POST", video + "/cancel").json()["status"], "cancelled");
      go_on = true;
    }
    return true;
  };
  const HttpReply cut = file.Ask("GET", video + "/stream.mp4", "", "", cancel);
  EXPECT_FALSE(cut.whole) << "a client that counts on the last chunk must not take it for the whole video";
  const HttpReply seen = events.Ask("GET", video + "/watch");
  EXPECT_TRUE(seen.whole);
  const json last = Parse(seen.body).events.back();
  EXPECT_EQ(last["event"], "error");
  EXPECT_EQ(last["code"], "VIDEO_CANCELLED");
  EXPECT_EQ(Ask("GET", video).json()["error"]["code"], "VIDEO_CANCELLED");
}

TEST_F(HttpTest, ErrorsNameTheirFields) {
  StartHttp();
  const auto error = [&](const std::string& body) { return Ask("POST", "/v1/videos", body).json()["error"]; };
  EXPECT_EQ(error(R"({"prompt": "", "seconds": 2})")["message"], "prompt: empty");
  EXPECT_EQ(error(R"({"prompt": "", "seconds": 2})")["param"], "prompt");
  EXPECT_THAT(error(R"({"prompt": "x", "seconds": 1000})")["message"].get<std::string>(),
              testing::StartsWith("seconds: "));
  EXPECT_EQ(error(R"({"prompt": 3, "sise": "1x1"})")["param"], "prompt");
  EXPECT_THAT(error(R"({"prompt": "x", "sise": "1x1"})")["message"].get<std::string>(),
              HasSubstr("sise: is not known"));
  EXPECT_THAT(error(R"({"prompt": "x", "prompt_changes": [{"prompt": "y"}]})")["message"].get<std::string>(),
              HasSubstr("prompt_changes[0].at_seconds: is missing"));
  EXPECT_EQ(Ask("POST", "/v1/videos", "{").status, 400);
  EXPECT_EQ(Ask("GET", "/v1/videos/none").json()["error"]["code"], "VIDEO_NOT_FOUND");
  EXPECT_EQ(Ask("GET", "/v1/videos/none/stream.mp4").status, 404);
  EXPECT_EQ(Ask("GET", "/nowhere").status, 404);
  EXPECT_EQ(Ask("PUT", "/v1/videos").status, 405);
  EXPECT_EQ(Ask("GET", "/v1/videos?limit=x").status, 400);
  EXPECT_EQ(Ask("POST", "/v1/videos", std::string(100'000, '[')).json()["error"]["message"], "body: nests too deep");
  EXPECT_THAT(error(R"({"prompt": "x", "seed": 18446744073709551615})")["message"].get<std::string>(),
              HasSubstr("seed: is not a whole number"));
  const std::string video = Create(TwoSeconds());
  EXPECT_EQ(Ask("GET", video + "/watch?from_block=99").status, 400);
  EXPECT_EQ(Ask("GET", video + "/watch?from_block=x").status, 400);
  EXPECT_EQ(Ask("POST", video + "/playback", R"({"viewer_id": "me", "position": 1})").json()["error"]["code"],
            "VIEWER_NOT_FOUND");
  Await([&] { return Ask("GET", video).json()["status"] == "completed"; }, "its end");
  EXPECT_EQ(Ask("POST", "/v1/quote", R"({"seconds": 2})").json()["start_seconds"], 0.0) << "nothing else is made";
}

TEST_F(HttpTest, GarbageAndLargeRequestsAreRefused) {
  StartHttp();
  HttpClient garbage(server->http_port());
  garbage.Send("\x16\x03\x01\x02\x00\x01 what is this\r\n\r\n");
  EXPECT_EQ(garbage.Read().status, 400);
  HttpClient long_header(server->http_port());
  long_header.Send("GET / HTTP/1.1\r\nX: " + std::string(20'000, 'x') + "\r\n\r\n");
  EXPECT_EQ(long_header.Read().status, 431);
  HttpClient long_body(server->http_port());
  long_body.Send("POST /v1/videos HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n");
  EXPECT_EQ(long_body.Read().status, 413);
  long_body.Send(std::string(1'000'000, 'x'));  // a client that is still sending is not reset
  HttpClient coded(server->http_port());
  coded.Send("POST /v1/videos HTTP/1.1\r\nTransfer-Encoding: chunked, x\r\n\r\n0\r\n\r\n");
  EXPECT_EQ(coded.Read().status, 400);
  HttpClient extension(server->http_port());
  extension.Send("POST /v1/videos HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;" + std::string(100'000, 'a'));
  EXPECT_EQ(extension.Read().status, 400);
  for (const std::string target : {"?a", "*", "http://127.0.0.1/", "//", "/%00"}) {
    EXPECT_EQ(Ask("GET", target).status, 404) << target;
  }
  HttpClient half(server->http_port());
  half.Send("GET /healthz HTTP/1.1\r\nHo");
  EXPECT_EQ(Ask("GET", "/healthz").status, 200) << "one that says only half holds up nobody";
}

TEST_F(HttpTest, AConnectionServesOneRequestAfterTheOther) {
  StartHttp();
  const std::string video = Create(TwoSeconds());
  HttpClient client(server->http_port());
  const HttpReply first = client.Ask("GET", video + "/stream.mp4");
  EXPECT_TRUE(first.whole);
  EXPECT_EQ(client.Ask("GET", "/healthz").body, "ok\n");
  const HttpReply head = client.Ask("HEAD", video + "/init.mp4");
  EXPECT_EQ(head.status, 200);
  EXPECT_TRUE(head.body.empty());
  EXPECT_EQ(head.headers.at("content-length"), absl::StrCat(client.Ask("GET", video + "/init.mp4").body.size()));
  EXPECT_EQ(client.Ask("HEAD", video + "/stream.mp4").status, 200);
  EXPECT_EQ(client.Ask("GET", video + "/stream.mp4").body, first.body);
  // HTTP/1.0 has no chunks: the end of the connection is the end of the body.
  EXPECT_TRUE(absl::EndsWith(HttpGet(server->http_port(), video + "/stream.mp4"), first.body));
}

TEST_F(HttpTest, AViewerThatGoesIsMissed) {
  StartHttp({.delay = HoldBefore(PassKind::kCommit, 2, "the viewer's going")});
  const std::string video = Create(TwoSeconds());
  {
    HttpClient client(server->http_port());
    client.Ask("GET", video + "/watch?viewer_id=me", "", "",
               [](const std::string& body) { return body.size() < 1000; });
    EXPECT_EQ(Viewers(video), 1);
    const HttpReply report =
        Ask("POST", video + "/playback", R"({"viewer_id": "me", "position": 0.1, "paused": true})");
    EXPECT_EQ(report.json()["report_after_seconds"], 10.0) << report.body;
  }
  Await([&] { return Viewers(video) == 0; }, "its going");
  go_on = true;
  EXPECT_TRUE(WatchByGrpc(video).status.ok());
}

TEST_F(HttpTest, OpenStreamsEndWithTheServer) {
  StartHttp({.denoise = absl::Milliseconds(50)});
  json request = TwoSeconds();
  request["seconds"] = 10;
  const std::string video = Create(request);
  HttpClient client(server->http_port());
  client.Ask("GET", video + "/stream.mp4", "", "", [](const std::string& body) { return body.size() < 1000; });
  Drain();
  server.reset();
  client.AwaitEnd();
}

TEST_F(HttpTest, ThePageAndOtherOrigins) {
  StartHttp();
  const HttpReply page = Ask("GET", "/");
  EXPECT_THAT(page.headers.at("content-type"), HasSubstr("text/html"));
  EXPECT_THAT(page.headers.at("content-security-policy"), HasSubstr("default-src 'self'"));
  EXPECT_THAT(Ask("GET", "/app.js").headers.at("content-type"), HasSubstr("javascript"));
  EXPECT_FALSE(page.headers.contains("access-control-allow-origin"));
  const auto with_origin = [&](const char* origin) {
    return Ask("GET", "/healthz", "", absl::StrCat("Origin: ", origin, "\r\n")).status;
  };
  EXPECT_EQ(with_origin("http://localhost"), 200) << "its own";
  EXPECT_EQ(with_origin("https://example.com"), 403);
  ServerOptions options;
  options.http_page = false;
  options.http_allow_origin = "https://example.com";
  StartHttp({}, options);
  EXPECT_EQ(Ask("GET", "/").status, 404);
  EXPECT_EQ(with_origin("https://example.com"), 200);
  EXPECT_EQ(with_origin("https://example.org"), 403);
  const HttpReply open = Ask("GET", "/healthz");
  EXPECT_EQ(open.headers.at("access-control-allow-origin"), "https://example.com");
  EXPECT_EQ(open.headers.at("access-control-expose-headers"), "Retry-After, x-request-id");
  const HttpReply preflight = Ask("OPTIONS", "/v1/videos");
  EXPECT_EQ(preflight.status, 204);
  EXPECT_THAT(preflight.headers.at("access-control-allow-methods"), HasSubstr("DELETE"));
  const std::string video = Create(TwoSeconds());
  EXPECT_EQ(Ask("GET", video + "/stream.mp4").headers.at("access-control-allow-origin"), "https://example.com");
}

TEST_F(HttpTest, NothingIsAskedOfAModelThatLoads) {
  ServerOptions options;
  options.http_listen = "127.0.0.1:0";
  Start({}, options);
  EXPECT_EQ(Ask("GET", "/healthz").status, 200);
  EXPECT_EQ(Ask("GET", "/readyz").status, 503);
  const HttpReply early = Ask("POST", "/v1/videos", TwoSeconds().dump());
  EXPECT_EQ(early.status, 503);
  EXPECT_EQ(early.json()["error"]["code"], "MODEL_LOADING");
  EXPECT_EQ(early.headers.at("retry-after"), "1");
  Serve();
  EXPECT_EQ(Ask("GET", "/readyz").status, 200);
}

class HttpAccess : public AccessFixture {};

TEST_F(HttpAccess, AsksWhoIsAskingAndShowsTenantsTheirOwn) {
  ServerOptions options = WithTokens();
  options.http_listen = options.metrics_listen = "127.0.0.1:0";
  StartAndServe({}, options);
  const auto ask = [&](const std::string& method, const std::string& path, const std::string& caller,
                       const std::string& body = {}) {
    const std::string header = caller.empty() ? "" : absl::StrCat("Authorization: Bearer ", TokenOf(caller), "\r\n");
    return HttpClient(server->http_port()).Ask(method, path, body, header);
  };
  EXPECT_EQ(ask("GET", "/healthz", "").status, 200);
  EXPECT_EQ(ask("GET", "/", "").status, 200);
  const HttpReply created = ask("POST", "/v1/videos", "alice", R"({"prompt": "a red ball", "seconds": 1})");
  ASSERT_EQ(created.status, 200) << created.body;
  const std::string video = absl::StrCat("/v1/videos/", created.json()["id"].get<std::string>());
  EXPECT_TRUE(ask("GET", video + "/stream.mp4", "bob").whole) << "of the same tenant";
  const std::vector<std::pair<std::string, std::string>> calls = {
      {"GET", ""},         {"GET", "/stream.mp4"},  {"GET", "/content"},
      {"GET", "/watch"},   {"GET", "/index.m3u8"},  {"GET", "/init.mp4"},
      {"POST", "/prompt"}, {"POST", "/fork"},       {"POST", "/playback"},
      {"POST", "/cancel"}, {"GET", "/block-0.m4s"}, {"DELETE", ""}};
  for (const auto& [method, path] : calls) {
    const HttpReply unknown = ask(method, video + path, "");
    EXPECT_EQ(unknown.status, 401) << path;
    EXPECT_EQ(unknown.headers.at("www-authenticate"), "Bearer");
    EXPECT_EQ(ask(method, video + path, "nobody").status, 401) << path;
    EXPECT_EQ(ask(method, video + path, "carol").status, 404) << path;
  }
  for (const char* path : {"/v1/videos", "/v1/models"}) EXPECT_EQ(ask("GET", path, "").status, 401) << path;
  EXPECT_EQ(ask("POST", "/v1/quote", "").status, 401);
  EXPECT_EQ(ask("GET", "/v1/videos", "carol").json()["data"].size(), 0u);
  EXPECT_EQ(ask("GET", "/v1/videos", "bob").json()["data"].size(), 1u);
  HttpClient metrics(server->metrics_port());
  EXPECT_EQ(metrics.Ask("GET", "/metrics").status, 401);
}

}  // namespace
}  // namespace longtake::server
