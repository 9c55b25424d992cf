// Watching by a link, over real HTTP: what anybody who has one may do, and what not.
#include <atomic>
#include <fstream>
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
#include "tests/server/fake_clock.h"
#include "tests/server/http_client.h"

namespace longtake::server {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;
using Stub = v1::VideoService::Stub;

constexpr char kKey[] = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8";
// What every request of these tests shows, so that one search finds it.
constexpr char kPrompt[] = "an unmistakable ball";

class LinkWatchingTest : public AccessFixture {
 protected:
  ServerOptions WithLinks() {
    ServerOptions options = WithTokens();
    options.http_listen = "127.0.0.1:0";
    options.now = [this] { return absl::FromUnixSeconds(now.load()); };
    options.links.keys = Write("link-keys", absl::StrCat(kKey, "\n"));
    return options;
  }
  HttpReply Ask(const std::string& method, const std::string& path, const std::string& caller = {},
                const std::string& body = {}, const std::function<bool(const std::string&)>& on_part = nullptr) const {
    const std::string header = caller.empty() ? "" : absl::StrCat("Authorization: Bearer ", TokenOf(caller), "\r\n");
    return HttpClient(server->http_port()).Ask(method, path, body, header, on_part);
  }
  // Creates a video of acme's and returns "/v1/videos/{id}".
  std::string Create(double seconds = 2) const {
    const json request = {{"prompt", kPrompt},
                          {"seconds", seconds},
                          {"seed", 4711},
                          {"request_id", "my-own-id"},
                          {"prompt_changes", {{{"prompt", kPrompt}, {"at_seconds", 1.0}}}}};
    const HttpReply reply = Ask("POST", "/v1/videos", "alice", request.dump());
    EXPECT_EQ(reply.status, 200) << reply.body;
    return absl::StrCat("/v1/videos/", reply.json()["id"].get<std::string>());
  }
  // "?link=..."
  std::string Link(const std::string& video, int seconds = 3600, const std::string& caller = "alice") const {
    const HttpReply reply = Ask("POST", video + "/link", caller, json{{"seconds", seconds}}.dump());
    EXPECT_EQ(reply.status, 200) << reply.body;
    return absl::StrCat("?link=", reply.json().value("link", ""));
  }
  // All that a link permits.
  static std::vector<std::string> Viewed(const std::string& video) {
    std::vector<std::string> paths = {video};
    for (const char* file : {"watch", "stream.mp4", "content", "index.m3u8", "init.mp4", "block-00000.m4s"}) {
      paths.push_back(absl::StrCat(video, "/", file));
    }
    return paths;
  }
  static void ExpectTheSame(HttpReply reply, HttpReply as, const std::string& what) {
    for (HttpReply* each : {&reply, &as}) EXPECT_EQ(each->headers.erase("x-request-id"), 1u) << what;
    EXPECT_EQ(reply.status, as.status) << what;
    EXPECT_EQ(reply.body, as.body) << what;
    EXPECT_EQ(reply.headers, as.headers) << what;
  }

  FakeClock clock;  // of looks at files, where a test uses it
  std::atomic<int64_t> now = 1'800'000'000;
};

TEST_F(LinkWatchingTest, AnybodyWhoHasTheLinkWatches) {
  StartAndServe({}, WithLinks());
  const std::string video = Create();
  const std::string bytes = Ask("GET", video + "/stream.mp4", "alice").body;
  const HttpReply made = Ask("POST", video + "/link", "bob", R"({"seconds": 600})");
  ASSERT_EQ(made.status, 200) << made.body;
  EXPECT_EQ(made.json()["expires_at"], now + 600);
  EXPECT_EQ(made.headers.at("cache-control"), "no-store");
  const std::string link = absl::StrCat("?link=", made.json()["link"].get<std::string>());
  EXPECT_EQ(made.json()["stream"], absl::StrCat(video, "/stream.mp4", link));
  EXPECT_EQ(made.json()["playlist"], absl::StrCat(video, "/index.m3u8", link));
  for (const char* caller : {"", "carol", "nobody"}) {
    EXPECT_EQ(Ask("GET", video + "/stream.mp4" + link, caller).body, bytes) << caller;
  }
  const HttpReply stream = Ask("GET", video + "/content" + link);
  EXPECT_TRUE(stream.whole);
  EXPECT_EQ(stream.headers.at("cache-control"), "private, no-store");
  EXPECT_EQ(Ask("HEAD", video + "/stream.mp4" + link).status, 200);

  // HLS, as a player does it: each address is the playlist's own.
  const HttpReply playlist = Ask("GET", video + "/index.m3u8" + link);
  EXPECT_EQ(playlist.headers.at("cache-control"), "private, max-age=60");
  std::string joined;
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(playlist.body, '\n'))) {
    std::string address = line;
    if (absl::StartsWith(line, "#EXT-X-MAP:URI=\"")) address = line.substr(16, line.size() - 17);
    if (address.empty() || address[0] == '#') continue;
    const HttpReply part = Ask("GET", absl::StrCat(video, "/", address));
    EXPECT_EQ(part.status, 200) << address;
    EXPECT_EQ(part.headers.at("cache-control"), "private, max-age=600, immutable") << "no longer than the link holds";
    joined += part.body;
  }
  EXPECT_EQ(joined, bytes);
  EXPECT_EQ(Ask("GET", video + "/block-00000.m4s", "bob").headers.at("cache-control"),
            "private, max-age=31536000, immutable");
}

TEST_F(LinkWatchingTest, AViewerIsNotToldWhatTheVideoIsMadeFrom) {
  StartAndServe({}, WithLinks());
  const std::string video = Create();
  ASSERT_TRUE(Ask("GET", video + "/stream.mp4", "alice").whole);
  const std::string link = Link(video);
  for (const char* file : {"", "/watch", "/index.m3u8"}) {
    const std::string body = Ask("GET", absl::StrCat(video, file, link)).body;
    EXPECT_THAT(body, testing::AllOf(Not(HasSubstr("unmistakable")), Not(HasSubstr("4711")), Not(HasSubstr("my-own"))))
        << file;
  }
  const json seen = Ask("GET", video + link).json();
  EXPECT_EQ(seen["status"], "completed");
  EXPECT_EQ(seen["prompt_changes"].size(), 1u);
  EXPECT_FALSE(seen["blocks"].empty());
  // The control: its tenant is told.
  EXPECT_THAT(Ask("GET", video + "/watch", "bob").body, testing::AllOf(HasSubstr(kPrompt), HasSubstr("4711")));
}

TEST_F(LinkWatchingTest, ALinkPermitsNothingElse) {
  StartAndServe({}, WithLinks());
  const std::string video = Create(), link = Link(video);
  const std::vector<std::pair<std::string, std::string>> calls = {
      {"DELETE", video},
      {"POST", video + "/cancel"},
      {"POST", video + "/prompt"},
      {"POST", video + "/fork"},
      {"POST", video + "/playback"},
      {"POST", video + "/link"},
      {"PUT", video},
      {"GET", video + "/nothing"},
      {"GET", "/v1/videos"},
      {"POST", "/v1/videos"},
      {"GET", "/v1/models"},
      {"POST", "/v1/quote"},
      {"GET", "/v1/videos/none"},
  };
  for (const auto& [method, path] : calls) {
    const HttpReply nobody = Ask(method, path);
    EXPECT_EQ(nobody.status, 401) << path;
    ExpectTheSame(Ask(method, path + link), nobody, method + " " + path);
  }
  // With an identity of its own the link is of no account.
  EXPECT_EQ(Ask("POST", video + "/cancel" + link, "carol").status, 404);
  EXPECT_EQ(Ask("POST", video + "/cancel" + link, "bob").status, 200);
}

TEST_F(LinkWatchingTest, AForgedLinkIsAsNone) {
  StartAndServe({}, WithLinks());
  const std::string video = Create();
  const json another = Ask("POST", "/v1/videos", "bob", R"({"prompt": "a cube", "seconds": 1})").json();
  const std::string other = absl::StrCat("/v1/videos/", another["id"].get<std::string>());
  std::string forged = Link(video);
  forged[20] = forged[20] == 'x' ? 'y' : 'x';
  for (const std::string& link : {forged, Link(other), std::string("?link="), std::string("?link=%00%ff")}) {
    for (const std::string& path : Viewed(video)) {
      const HttpReply nobody = Ask("GET", path);
      EXPECT_EQ(nobody.status, 401);
      ExpectTheSame(Ask("GET", path + link), nobody, path + link);
      EXPECT_EQ(Ask("HEAD", path + link, "bob").status, Ask("HEAD", path, "bob").status) << path << link;
    }
  }
}

TEST_F(LinkWatchingTest, AnExpiredLinkSaysSo) {
  StartAndServe({}, WithLinks());
  const std::string video = Create();
  ASSERT_TRUE(Ask("GET", video + "/stream.mp4", "alice").whole);
  const std::string link = Link(video, 60);
  now += 59;
  EXPECT_EQ(Ask("GET", video + "/block-00000.m4s" + link).headers.at("cache-control"), "private, max-age=1, immutable");
  now += 1;
  for (const std::string& path : Viewed(video)) {
    const HttpReply reply = Ask("GET", path + link);
    EXPECT_EQ(reply.status, 403) << path;
    EXPECT_EQ(reply.json()["error"]["code"], "LINK_EXPIRED") << path;
    EXPECT_EQ(Ask("GET", path + link, "bob").status, 200) << "who may without it, still may: " << path;
  }
  EXPECT_EQ(Ask("POST", video + "/cancel" + link).status, 401);
}

TEST_F(LinkWatchingTest, AStreamIsCutWhenItsLinkExpires) {
  StartAndServe({.delay = HoldBefore(PassKind::kCommit, 2, "the link's end")}, WithLinks());
  const std::string video = Create();
  const std::string link = Link(video, 60);
  const HttpReply cut = Ask("GET", video + "/stream.mp4" + link, "", "", [&](const std::string& body) {
    if (body.size() > 1000) now = 1'800'000'060;
    return true;
  });
  EXPECT_GT(cut.body.size(), 1000u);
  EXPECT_FALSE(cut.whole);
  EXPECT_EQ(Ask("GET", video + "/stream.mp4" + link).status, 403);
  go_on = true;
  EXPECT_TRUE(Ask("GET", video + "/stream.mp4", "bob").whole) << "its tenant's viewers go on";
}

TEST_F(LinkWatchingTest, KeysAreExchangedAndSharedByServers) {
  ServerOptions options = WithLinks();
  options.store = folder + "/store";
  options.clock = &clock;
  StartAndServe({}, options);
  const std::string video = Create();
  ASSERT_TRUE(Ask("GET", video + "/stream.mp4", "alice").whole);
  const std::string old_link = Link(video);
  Write("link-keys", absl::StrCat(std::string(64, 'b'), "\n", kKey, "\n"));
  clock.Advance(absl::Seconds(2));
  const std::string new_link = Link(video);
  // Another server with the same store and keys.
  server.reset();
  StartAndServe({}, options);
  for (const std::string& link : {old_link, new_link}) EXPECT_EQ(Ask("GET", video + "/init.mp4" + link).status, 200);
  Write("link-keys", std::string(64, 'b'));
  clock.Advance(absl::Seconds(2));
  EXPECT_EQ(Ask("GET", video + "/init.mp4" + old_link).status, 401);
  EXPECT_EQ(Ask("GET", video + "/init.mp4" + new_link).status, 200);
}

TEST_F(LinkWatchingTest, LinksCountAsTheTenants) {
  ServerOptions options = WithLinks();
  options.quotas = Write("quotas", R"({"acme": {"watches": 1}})");
  StartAndServe({.delay = HoldBefore(PassKind::kCommit, 2, "the second viewer")}, options);
  const std::string video = Create();
  const std::string link = Link(video);
  HttpClient first(server->http_port());
  first.Ask("GET", video + "/stream.mp4" + link, "", "", [](const std::string& body) { return body.size() < 1000; });
  EXPECT_EQ(Ask("GET", video + "/stream.mp4" + link).json()["error"]["code"], "QUOTA_EXCEEDED");
  EXPECT_EQ(Ask("GET", video + "/stream.mp4", "bob").status, 429);
  go_on = true;
}

TEST_F(LinkWatchingTest, GrpcMakesLinksToo) {
  StartAndServe({}, WithLinks());
  const std::string video = Create();
  v1::CreateViewingLinkRequest request;
  request.set_name(video.substr(4));
  v1::CreateViewingLinkResponse response;
  ASSERT_TRUE(As("bob", &Stub::CreateViewingLink, request, response).ok());
  EXPECT_EQ(response.expire_time().seconds(), now + 24 * 3600) << "a day";
  *request.mutable_duration() = ToProto(60);
  ASSERT_TRUE(As("bob", &Stub::CreateViewingLink, request, response).ok());
  EXPECT_EQ(response.expire_time().seconds(), now + 60);
  EXPECT_EQ(Ask("GET", absl::StrCat(video, "?link=", response.link())).status, 200);
  EXPECT_EQ(ReasonOf(As("carol", &Stub::CreateViewingLink, request, response)), "VIDEO_NOT_FOUND");
  *request.mutable_duration() = ToProto(0.5);
  const grpc::Status wrong = As("bob", &Stub::CreateViewingLink, request, response);
  EXPECT_EQ(ReasonOf(wrong), "INVALID_REQUEST");
  EXPECT_THAT(wrong.error_message(), HasSubstr("duration: 0.5 s is not within"));
  EXPECT_THAT(Ask("POST", video + "/link", "bob", R"({"seconds": 1e6})").json()["error"]["message"].get<std::string>(),
              testing::StartsWith("seconds: "));
  EXPECT_EQ(Ask("POST", video + "/link", "bob", R"({"second": 1})").status, 400);
}

TEST_F(LinkWatchingTest, WhereEverybodyMayWatchThereAreNoLinks) {
  ServerOptions open;
  open.http_listen = "127.0.0.1:0";
  StartAndServe({}, open);
  const json made = Ask("POST", "/v1/videos", "", R"({"prompt": "a ball", "seconds": 1})").json();
  const std::string video = absl::StrCat("/v1/videos/", made["id"].get<std::string>());
  const HttpReply refused = Ask("POST", video + "/link", "", "{}");
  EXPECT_EQ(refused.status, 409);
  EXPECT_EQ(refused.json()["error"]["code"], "LINKS_UNAVAILABLE");
  EXPECT_TRUE(Ask("GET", video + "/stream.mp4?link=anything").whole);
  EXPECT_EQ(Ask("GET", video + "/init.mp4").headers.at("cache-control"), "public, max-age=31536000, immutable");
  server.reset();

  ServerOptions without_keys = WithTokens();
  without_keys.http_listen = "127.0.0.1:0";
  StartAndServe({}, without_keys);
  EXPECT_EQ(Ask("POST", Create() + "/link", "alice", "{}").json()["error"]["code"], "LINKS_UNAVAILABLE");
  server.reset();

  open.links.keys = Write("link-keys", kKey);
  EXPECT_THAT(Server::Start(open, &logger).status().ToString(), HasSubstr("link-keys: needs tokens"));
}

TEST_F(LinkWatchingTest, NoLinkStandsInTheLog) {
  logger.set_level(spdlog::level::trace);
  StartAndServe({}, WithLinks());
  const std::string video = Create();
  ASSERT_TRUE(Ask("GET", video + "/stream.mp4", "alice").whole);
  const std::string link = Link(video), changed = link + "A";
  for (const std::string& path : Viewed(video)) {
    Ask("GET", path + link);
    Ask("GET", path + changed);
  }
  Ask("POST", video + "/cancel" + link);
  now += 3600;
  std::string said = Ask("GET", video + link).body + Ask("GET", video + changed).body + server->MetricsText();
  server.reset();
  EXPECT_THAT(LogText(), testing::AllOf(HasSubstr(absl::StrCat("viewing link made name=", video.substr(4))),
                                        HasSubstr(absl::StrCat("viewing link used name=", video.substr(4)))));
  for (const std::string& text : {LogText(), said}) {
    EXPECT_THAT(text, Not(HasSubstr(link.substr(6, 24))));
    EXPECT_THAT(text, Not(HasSubstr(std::string(kKey).substr(0, 16))));
  }
}

}  // namespace
}  // namespace longtake::server
