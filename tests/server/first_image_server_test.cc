// Videos that begin with a picture, over real gRPC and HTTP: what the engine gets, what is refused, what is kept.
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/image/image.h"
#include "tests/engine/temp_folder.h"
#include "tests/server/http_client.h"
#include "tests/server/server_fixture.h"

namespace longtake::server {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

constexpr int64_t kManyPixels = 1 << 20;

// A picture of another shape than the video's 64x48; every number another one.
std::string File(int number) {
  Picture picture{.width = 100, .height = 60};
  for (int i = 0; i < 6000; ++i) {
    for (int c = 0; c < 3; ++c) picture.rgb.push_back(static_cast<uint8_t>(i * (c + number) >> 4));
  }
  return *ToPng(picture);
}

std::vector<uint8_t> Pixels(int number) { return ReadPicture(File(number), kManyPixels, 64, 48)->rgb; }

// Of the PNG that is kept.
size_t KeptBytes(int number) { return ToPng(*ReadPicture(File(number), kManyPixels, 64, 48))->size(); }

class FirstImageTest : public ServerFixture {
 protected:
  // Sessions' pictures are in `seen_`, one a pass.
  FakeEngineOptions Engine(Delay delay = {}) {
    FakeEngineOptions options{.model = FakeModel(), .delay = std::move(delay)};
    options.model.accepts_first_image = true;
    options.fail = [this](const Pass&, const SessionSpec& spec) {
      const std::lock_guard<std::mutex> lock(mutex_);
      seen_.push_back(spec.first_image == nullptr ? std::vector<uint8_t>() : spec.first_image->rgb);
      return absl::OkStatus();
    };
    return options;
  }
  static v1::GenerateVideoRequest WithImage(const std::string& file, double seconds = 1) {
    v1::GenerateVideoRequest request = Request(seconds);
    request.mutable_spec()->set_first_image(file);
    request.mutable_delivery_options()->set_disconnect_policy(v1::DISCONNECT_POLICY_CONTINUE);
    return request;
  }
  // Of all passes since the last call.
  void ExpectSeen(const std::vector<uint8_t>& pixels) {
    const std::lock_guard<std::mutex> lock(mutex_);
    EXPECT_FALSE(seen_.empty());
    for (const std::vector<uint8_t>& each : seen_) EXPECT_EQ(each, pixels);
    seen_.clear();
  }
  void ExpectRefused(const v1::GenerateVideoRequest& request, const std::string& field, const std::string& why) {
    const Watched video = Generate(request);
    EXPECT_EQ(video.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_EQ(ReasonOf(video.status), "INVALID_REQUEST");
    const auto bad = DetailOf<google::rpc::BadRequest>(video.status);
    ASSERT_TRUE(bad.has_value() && bad->field_violations_size() == 1) << video.status.error_message();
    EXPECT_EQ(bad->field_violations(0).field(), field);
    EXPECT_THAT(bad->field_violations(0).description(), HasSubstr(why));
  }

  const TempFolder folder_;
  std::mutex mutex_;
  std::vector<std::vector<uint8_t>> seen_;  // guarded by mutex_
};

TEST_F(FirstImageTest, ReachesTheEngineAtTheVideosSize) {
  StartAndServe(Engine());
  EXPECT_TRUE(Generate(WithImage(File(1))).status.ok());
  ExpectSeen(Pixels(1));
  EXPECT_TRUE(Generate(Request(1)).status.ok());
  ExpectSeen({});
}

TEST_F(FirstImageTest, IsRefusedByItsField) {
  ServerOptions options;
  options.studio.limits.max_first_image_pixels = 6000;
  options.studio.limits.max_first_image_bytes = 100'000;
  StartAndServe(Engine(), std::move(options));
  EXPECT_TRUE(Generate(WithImage(File(1))).status.ok());
  ExpectRefused(WithImage("GIF89a"), "spec.first_image", "is not a PNG, JPEG or WebP picture");
  ExpectRefused(WithImage(File(1).substr(0, File(1).size() / 2)), "spec.first_image", "is a damaged PNG picture");
  ExpectRefused(WithImage(std::string(100'001, 'a')), "spec.first_image", "100001 bytes, above the limit of 100000");
  ExpectRefused(WithImage(File(1), 0.05), "spec.duration", "is the first image alone");
  std::string large = File(1);
  large[18] = 1;  // its width: 65636
  ExpectRefused(WithImage(large), "spec.first_image", "above the limit of 6000");
}

// The pictures of videos that have ended have a quarter of the memory of chunks, here room for three of them. There is
// room for the chunks of all videos.
TEST_F(FirstImageTest, OfEndedVideosTakesBoundedMemory) {
  constexpr int kRoom = 3, kVideos = 6;
  ServerOptions options;
  options.studio.keep_bytes = 4 * kRoom * static_cast<int64_t>(KeptBytes(3)) + 3;
  StartAndServe(Engine(), std::move(options));
  std::vector<std::string> names;
  for (int i = 0; i < kVideos; ++i) {
    const Watched made = Generate(WithImage(File(3)));
    ASSERT_TRUE(made.status.ok()) << i << ": " << made.status.error_message();
    names.push_back(made.video().name());
  }
  const auto known = [&](int i) { return ReasonOf(Watch(names[i]).status) != "VIDEO_NOT_FOUND"; };
  Await([&] { return !known(kVideos - kRoom - 1); }, "all but the newest are forgotten");
  for (int i = 0; i < kVideos; ++i) EXPECT_EQ(known(i), i >= kVideos - kRoom) << i;
}

TEST_F(FirstImageTest, IsTheSameByHttp) {
  ServerOptions options;
  options.http_listen = "127.0.0.1:0";
  StartAndServe(Engine(), std::move(options));
  const auto ask = [this](const char* method, const std::string& path, const std::string& body = {},
                          const std::string& headers = {}) {
    return HttpClient(server->http_port()).Ask(method, path, body, headers);
  };
  const auto create = [&](const json& image) {
    const json body = {{"prompt", "a red ball"}, {"seconds", 1}, {"input_reference", image}};
    return ask("POST", "/v1/videos", body.dump());
  };
  const auto made = [&](const HttpReply& reply) {
    ASSERT_EQ(reply.status, 200) << reply.body;
    const std::string video = absl::StrCat("/v1/videos/", reply.json()["id"].get<std::string>());
    EXPECT_EQ(ask("GET", video + "/content").status, 200);
    ExpectSeen(Pixels(2));
  };
  const std::string base64 = absl::Base64Escape(File(2)), url = absl::StrCat("data:image/png;base64,", base64);
  made(create(base64));
  made(create(url));
  made(create({{"image_url", url}}));
  // Padding in a form's part, which is more than a body without a picture may have.
  const std::string form =
      absl::StrCat("--b\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\n42\r\n",
                   "--b\r\nContent-Disposition: form-data; name=\"seconds\"\r\n\r\n1\r\n",
                   "--b\r\nContent-Disposition: form-data; name=\"seed\"\r\n\r\n7\r\n",
                   "--b\r\nContent-Disposition: form-data; name=\"input_reference\"; filename=\"boat.png\"\r\n",
                   "Content-Type: image/png\r\n\r\n", File(2), std::string(600'000, '\0'), "\r\n--b--\r\n");
  const std::string type = "Content-Type: multipart/form-data; boundary=b\r\n";
  made(ask("POST", "/v1/videos", form, type));
  EXPECT_EQ(ask("POST", "/v1/videos/x/prompt", std::string(600'000, ' ')).status, 413);

  const auto refused = [&](const HttpReply& reply, const std::string& param, const std::string& why) {
    EXPECT_EQ(reply.status, 400) << reply.body;
    EXPECT_EQ(reply.json()["error"]["param"], param);
    EXPECT_THAT(reply.json()["error"]["message"].get<std::string>(), HasSubstr(why));
  };
  refused(create("R0lGODlh"), "input_reference", "is not a PNG, JPEG or WebP picture");
  refused(create("http://example.org/boat.png"), "input_reference", "fetches no pictures");
  refused(create("data:image/png,x"), "input_reference", "is a data URL without base64");
  refused(create("????"), "input_reference", "is not base64");
  refused(create(7), "input_reference", "is not base64, a data URL or");
  for (const std::string& broken : {std::string("--b"), form.substr(0, 300), std::string("--b\r\n\r\nx\r\n--b--")}) {
    refused(ask("POST", "/v1/videos", broken, type), "body", "is a form");
  }
  for (const char* text : {"\xff", "a\xc3", "\xed\xa0\x80"}) {
    const std::string part = "--b\r\nContent-Disposition: form-data; name=\"";
    refused(ask("POST", "/v1/videos", absl::StrCat(part, "prompt\"\r\n\r\n", text, "\r\n--b--\r\n"), type), "body",
            "is not UTF-8");
    refused(ask("POST", "/v1/videos", absl::StrCat(part, text, "\"\r\n\r\nx\r\n--b--\r\n"), type), "body",
            "is not UTF-8");
  }
}

TEST_F(FirstImageTest, IsKeptWithTheVideoAndGoesWithIt) {
  const auto start = [&](FakeEngineOptions engine_options) {
    server.reset();
    ServerOptions options;
    options.store = folder_.path() + "/store";
    options.lifecycle = {.shutdown_limit = absl::Minutes(5) + absl::Milliseconds(100),
                         .shutdown_reading = absl::Minutes(5)};
    StartAndServe(std::move(engine_options), std::move(options));
  };
  // The server ends in the middle, and the next one goes on.
  start(Engine(HoldBefore(
      PassKind::kDenoise, 10, [this] { return absl::StrContains(LogText(), "still being made are ended"); },
      "the cut")));
  v1::GenerateVideoRequest request = WithImage(File(1), 5);
  request.set_request_id("one");
  const Watched cut = Generate(request, [&](const v1::WatchVideoResponse& event, grpc::ClientContext&) {
    if (event.has_chunk() && event.chunk().block() == 1) server->Stop(/*grace=*/false);
  });
  const std::string name = cut.video().name(), stored = folder_.path() + "/store/" + name + "/first_image";
  EXPECT_TRUE(fs::exists(stored));
  ExpectSeen(Pixels(1));
  start(Engine());
  EXPECT_TRUE(Watch(name, cut.events.back().resume_token()).status.ok());
  ExpectSeen(Pixels(1));

  // Asked for again it is the same video, with another picture it is not.
  const Watched again = Generate(request);
  ASSERT_TRUE(again.status.ok()) << again.status.error_message();
  EXPECT_EQ(again.video().name(), name);
  v1::GenerateVideoRequest other = request;
  other.mutable_spec()->set_first_image(File(2));
  EXPECT_EQ(ReasonOf(Generate(other).status), "REQUEST_ID_REUSED");

  v1::ForkVideoRequest fork;
  fork.set_name(name);
  fork.set_from_block(2);
  fork.set_prompt("night falls");
  v1::Video forked;
  grpc::ClientContext context;
  const grpc::Status status = stub->ForkVideo(&context, fork, &forked);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_TRUE(Watch(forked.name()).status.ok());
  ExpectSeen(Pixels(1));

  EXPECT_TRUE(Delete(name).ok());
  EXPECT_FALSE(fs::exists(stored));
  EXPECT_TRUE(fs::exists(folder_.path() + "/store/" + forked.name() + "/first_image"));
}

}  // namespace
}  // namespace longtake::server
