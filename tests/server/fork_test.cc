// Over real gRPC: videos that begin with another one's blocks.
#include <algorithm>
#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/temp_folder.h"
#include "tests/server/server_fixture.h"

namespace longtake::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class ForkTest : public ServerFixture {
 protected:
  // Blocks of a video begin at 0, 9/16, 17/16, 25/16, ... s.
  static v1::GenerateVideoRequest Story(double seconds, const std::vector<std::pair<double, std::string>>& changes) {
    v1::GenerateVideoRequest request = Request(seconds);
    request.mutable_delivery_options()->set_disconnect_policy(v1::DISCONNECT_POLICY_CONTINUE);
    for (const auto& [at, prompt] : changes) {
      v1::PromptChange& change = *request.mutable_spec()->add_prompt_changes();
      *change.mutable_at_offset() = ToProto(at);
      change.set_prompt(prompt);
    }
    return request;
  }
  static v1::ForkVideoRequest ForkOf(const std::string& name, int from_block, const std::string& prompt) {
    v1::ForkVideoRequest request;
    request.set_name(name);
    request.set_from_block(from_block);
    request.set_prompt(prompt);
    return request;
  }
  grpc::Status Fork(const v1::ForkVideoRequest& request, v1::Video& video) {
    grpc::ClientContext context;
    return stub->ForkVideo(&context, request, &video);
  }
  Watched ForkAndWatch(const v1::ForkVideoRequest& request) {
    v1::Video video;
    const grpc::Status status = Fork(request, video);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return Watch(video.name());
  }
  static std::vector<int> Prompts(const Watched& video) {
    std::vector<int> prompts;
    for (const v1::Chunk* chunk : BlocksOf(video)) prompts.push_back(chunk->prompt());
    return prompts;
  }
  const TempFolder folder;
};

TEST_F(ForkTest, ItIsTheVideoThatItsSpecWouldMake) {
  StartAndServe();
  const Watched first = Generate(Story(3, {{1.0, "night falls"}}));
  v1::ForkVideoRequest request = ForkOf(first.video().name(), 3, "the sun rises");
  *request.add_prompt_changes()->mutable_at_offset() = ToProto(2.5);
  request.mutable_prompt_changes(0)->set_prompt("it rains");
  const Watched fork = ForkAndWatch(request);
  ASSERT_TRUE(fork.status.ok()) << fork.status.error_message();
  const Watched made =
      Generate(Story(3, {{17.0 / 16, "night falls"}, {25.0 / 16, "the sun rises"}, {2.5, "it rains"}}));
  EXPECT_EQ(fork.bytes, made.bytes);
  EXPECT_NE(fork.bytes, first.bytes);
  EXPECT_THAT(Prompts(fork), ElementsAre(0, 0, 1, 2, 2, 3));
  EXPECT_EQ(fork.finished().chunk_count(), made.finished().chunk_count());
  EXPECT_NE(fork.video().name(), first.video().name());
  EXPECT_EQ(fork.video().spec().SerializeAsString(), made.video().spec().SerializeAsString());
  // Each prompt is told once, the shared ones too.
  std::vector<int> told;
  for (const v1::WatchVideoResponse& event : fork.events) {
    if (event.has_prompt_changed()) told.push_back(event.prompt_changed().prompt());
  }
  EXPECT_THAT(told, ElementsAre(0, 1, 2, 3));
  EXPECT_EQ(Watch(first.video().name()).bytes, first.bytes) << "the other one is as it was";
  EXPECT_EQ(engine->passes_out_of_order(), 0);
  EXPECT_THAT(LogText(), testing::Not(HasSubstr("sun")));
}

TEST_F(ForkTest, OfAVideoWhosePromptsWereChangedOnTheWay) {
  // Of the plan's second prompt nothing was shown, for the fork comes before it; the first block of the changed one is
  // the last that both have.
  std::atomic<bool> changed = false;
  int commits = 0;
  StartAndServe({.delay = [&](const Pass& pass) {
    if (pass.kind == PassKind::kCommit && ++commits == 1) Await([&] { return changed.load(); }, "the change");
    return absl::ZeroDuration();
  }});
  const Watched first =
      Generate(Story(3, {{2.5, "never shown"}}), [&](const v1::WatchVideoResponse& event, grpc::ClientContext&) {
        if (!event.has_accepted()) return;
        v1::ChangePromptRequest request;
        request.set_name(event.accepted().video().name());
        request.mutable_change()->set_prompt("night falls");
        *request.mutable_change()->mutable_at_offset() = ToProto(17.0 / 16);
        grpc::ClientContext context;
        v1::ChangePromptResponse response;
        const grpc::Status status = stub->ChangePrompt(&context, request, &response);
        EXPECT_TRUE(status.ok()) << status.error_message();
        changed = true;
      });
  EXPECT_THAT(Prompts(first), ElementsAre(0, 0, 2, 2, 2, 1));
  const Watched fork = ForkAndWatch(ForkOf(first.video().name(), 3, "the sun rises"));
  EXPECT_THAT(Prompts(fork), ElementsAre(0, 0, 1, 2, 2, 2));
  EXPECT_EQ(fork.bytes, Generate(Story(3, {{17.0 / 16, "night falls"}, {25.0 / 16, "the sun rises"}})).bytes);
}

TEST_F(ForkTest, OfAVideoThatIsBeingMade) {
  std::atomic<bool> forked = false;
  StartAndServe({.delay = [&](const Pass& pass) {
    if (pass.kind == PassKind::kDecode && Commits() == 4) Await([&] { return forked.load(); }, "the fork");
    return absl::ZeroDuration();
  }});
  v1::Video fork;
  std::string name;
  const Watched first = Generate(Story(3, {}), [&](const v1::WatchVideoResponse& event, grpc::ClientContext&) {
    if (event.has_accepted()) name = event.accepted().video().name();
    if (!event.has_chunk() || event.chunk().block() != 1 || !event.chunk().has_report()) return;
    EXPECT_EQ(ReasonOf(Fork(ForkOf(name, 5, "too early"), fork)), "BLOCK_NOT_MADE");
    const grpc::Status status = Fork(ForkOf(name, 2, "the sun rises"), fork);
    EXPECT_TRUE(status.ok()) << status.error_message();
    forked = true;
  });
  ASSERT_TRUE(first.status.ok()) << first.status.error_message();
  EXPECT_EQ(Watch(fork.name()).bytes, Generate(Story(3, {{17.0 / 16, "the sun rises"}})).bytes);
  EXPECT_EQ(first.bytes, Generate(Story(3, {})).bytes) << "the other one goes on as if nothing had happened";
}

TEST_F(ForkTest, MayBeLongerOrShorter) {
  StartAndServe();
  const std::string name = Generate(Story(2, {})).video().name();
  for (const double seconds : {1.5, 4.0}) {
    v1::ForkVideoRequest request = ForkOf(name, 2, "the sun rises");
    *request.mutable_duration() = ToProto(seconds);
    EXPECT_EQ(ForkAndWatch(request).bytes, Generate(Story(seconds, {{17.0 / 16, "the sun rises"}})).bytes) << seconds;
  }
  // The first block takes up what does not fill blocks.
  v1::ForkVideoRequest request = ForkOf(name, 2, "the sun rises");
  *request.mutable_duration() = ToProto(37.0 / 16);
  v1::Video video;
  const grpc::Status status = Fork(request, video);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("duration: blocks before from_block would have other lengths"));
}

TEST_F(ForkTest, ErrorsNameTheirFields) {
  StartAndServe();
  const std::string name = Generate(Story(2, {})).video().name();
  v1::Video video;
  EXPECT_EQ(ReasonOf(Fork(ForkOf("videos/none", 1, "x"), video)), "VIDEO_NOT_FOUND");
  const auto message = [&](const v1::ForkVideoRequest& request) { return Fork(request, video).error_message(); };
  EXPECT_EQ(message(ForkOf(name, 0, "x")), "from_block: 0 is not within 1 ... 3");
  EXPECT_EQ(message(ForkOf(name, 4, "x")), "from_block: 4 is not within 1 ... 3");
  EXPECT_THAT(message(ForkOf(name, 1, "")), testing::StartsWith("prompt: "));
  v1::ForkVideoRequest request = ForkOf(name, 2, "x");
  *request.add_prompt_changes()->mutable_at_offset() = ToProto(0.5);
  request.mutable_prompt_changes(0)->set_prompt("y");
  EXPECT_THAT(message(request), testing::StartsWith("prompt_changes[0].at_offset: falls to the block at 0.5625 s"));
  request = ForkOf(name, 3, "x");
  *request.mutable_duration() = ToProto(1);
  EXPECT_THAT(message(request), testing::StartsWith("from_block: no block begins at or after 1.5625 s"));
  *request.mutable_duration() = ToProto(1000);
  EXPECT_THAT(message(request), testing::StartsWith("duration: "));
}

TEST_F(ForkTest, ARequestIdIsKnownAgain) {
  StartAndServe();
  const std::string name = Generate(Story(2, {})).video().name();
  v1::ForkVideoRequest request = ForkOf(name, 2, "the sun rises");
  request.set_request_id("mine");
  v1::Video first, second;
  ASSERT_TRUE(Fork(request, first).ok());
  ASSERT_TRUE(Delete(name).ok());
  const grpc::Status again = Fork(request, second);
  ASSERT_TRUE(again.ok()) << again.error_message();
  EXPECT_EQ(first.name(), second.name());
  request.set_from_block(3);
  EXPECT_EQ(ReasonOf(Fork(request, second)), "REQUEST_ID_REUSED");
}

TEST_F(ForkTest, FewerStepsStayFewer) {
  FakeEngineOptions engine_options;
  engine_options.model = FakeModel();
  engine_options.model.step_ladder = {3, 2};
  StartAndServe(engine_options);
  v1::GenerateVideoRequest adaptive = Story(3, {});
  adaptive.mutable_delivery_options()->set_fidelity(v1::FIDELITY_ADAPTIVE);
  const Watched first = Generate(adaptive);
  v1::ForkVideoRequest request = ForkOf(first.video().name(), 4, "the sun rises");
  request.mutable_delivery_options()->set_fidelity(v1::FIDELITY_ADAPTIVE);
  const Watched fork = ForkAndWatch(request);
  ASSERT_TRUE(fork.status.ok());
  for (int block = 0; block < 4; ++block) {
    EXPECT_EQ(BlocksOf(fork)[block]->denoise_steps(), BlocksOf(first)[block]->denoise_steps());
  }
}

TEST_F(ForkTest, InAStoreItOutlivesItsServerAndTheOtherVideo) {
  ServerOptions options;
  options.store = folder.path() + "/store";
  StartAndServe({}, options);
  const Watched first = Generate(Story(4, {}));
  v1::Video video;
  ASSERT_TRUE(Fork(ForkOf(first.video().name(), 3, "the sun rises"), video).ok());
  const Watched fork = Watch(video.name());
  EXPECT_TRUE(Delete(first.video().name()).ok());
  server.reset();
  StartAndServe({}, options);
  const Watched again = Watch(video.name());
  EXPECT_TRUE(again.status.ok()) << again.status.error_message();
  EXPECT_EQ(again.bytes, fork.bytes);
  EXPECT_TRUE(engine->ran().empty()) << "it was made again";
  // And a stored one is forked as any other.
  const Watched second = ForkAndWatch(ForkOf(video.name(), 5, "it rains"));
  EXPECT_EQ(second.bytes, Generate(Story(4, {{25.0 / 16, "the sun rises"}, {41.0 / 16, "it rains"}})).bytes);
}

TEST_F(ForkTest, TheSharedBlocksHaveTheForksTime) {
  ServerOptions options;
  options.store = folder.path() + "/store";
  options.studio.keep_bytes = 1;  // chunks come from the store
  StartAndServe({}, options);
  const Watched first = Generate(Story(2, {}));
  const Watched fork = ForkAndWatch(ForkOf(first.video().name(), 3, "the sun rises"));
  const auto times = [](const Watched& video) {
    std::vector<double> times;
    for (const v1::WatchVideoResponse& event : video.events) times.push_back(Seconds(event.elapsed_duration()));
    return times;
  };
  const std::vector<double> seen = times(fork);
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
  EXPECT_EQ(times(Watch(fork.video().name())), seen);
  EXPECT_EQ(fork.video().progress().block_count(), 3) << "of its acceptance";
  EXPECT_FALSE(fork.accepted().quote().has_first_chunk_delay()) << "it has it";
}

TEST_F(ForkTest, ManyPromptsOnTheWayHinderNoFork) {
  ServerOptions options;
  options.studio.limits.max_prompt_changes = 1;
  StartAndServe({}, options);
  const Watched first = Generate(Story(3, {{1.0, "night falls"}}));
  const Watched second = ForkAndWatch(ForkOf(first.video().name(), 3, "the sun rises"));
  const Watched third = ForkAndWatch(ForkOf(second.video().name(), 4, "it rains"));
  EXPECT_THAT(Prompts(third), ElementsAre(0, 0, 1, 2, 3, 3));
}

}  // namespace
}  // namespace longtake::server
