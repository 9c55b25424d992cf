// Over real gRPC: prompts that change while the video is made, fewer steps under load, and clients that stop reading.
#include <algorithm>
#include <atomic>
#include <optional>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fake_clock.h"
#include "tests/server/server_fixture.h"

namespace longtake::server {
namespace {

using testing::HasSubstr;

class Direction : public ServerFixture {
 protected:
  // Blocks of Request(2) begin at 0, 9/16, 17/16 and 25/16 s.
  static v1::GenerateVideoRequest Story(std::vector<std::pair<double, std::string>> changes) {
    v1::GenerateVideoRequest request = Request(2);
    for (const auto& [at, prompt] : changes) {
      v1::PromptChange& change = *request.mutable_spec()->add_prompt_changes();
      *change.mutable_at_offset() = ToProto(at);
      change.set_prompt(prompt);
    }
    return request;
  }
  // `at`: 0 is the next block.
  grpc::Status Change(const std::string& name, double at, const std::string& prompt, v1::PromptChanged& receipt) {
    grpc::ClientContext context;
    v1::ChangePromptRequest request;
    request.set_name(name);
    if (at == 0) {
      request.mutable_change()->mutable_next_block();
    } else {
      *request.mutable_change()->mutable_at_offset() = ToProto(at);
    }
    request.mutable_change()->set_prompt(prompt);
    v1::ChangePromptResponse response;
    const grpc::Status status = stub->ChangePrompt(&context, request, &response);
    receipt = response.receipt();
    return status;
  }
  static std::vector<int> Prompts(const Watched& video) {
    std::vector<int> prompts;
    for (const v1::Chunk* chunk : BlocksOf(video)) prompts.push_back(chunk->prompt());
    return prompts;
  }
  static std::vector<v1::PromptChanged> Changes(const Watched& video) {
    std::vector<v1::PromptChanged> changes;
    for (const v1::WatchVideoResponse& event : video.events) {
      if (!event.has_prompt_changed() || event.prompt_changed().prompt() == 0) continue;
      changes.push_back(event.prompt_changed());
      changes.back().clear_tokens();  // a receipt has none
    }
    return changes;
  }

  FakeClock clock;
};

TEST_F(Direction, AStoryChangesThePromptAtBlockBoundaries) {
  StartAndServe();
  const Watched plain = Generate(Request(2));
  const Watched story = Generate(Story({{1.0, "night falls"}, {1.5, "the sun rises"}}));
  ASSERT_TRUE(story.status.ok()) << story.status.error_message();
  EXPECT_THAT(Prompts(plain), testing::ElementsAre(0, 0, 0, 0));
  EXPECT_THAT(Prompts(story), testing::ElementsAre(0, 0, 1, 2));
  const std::vector<v1::PromptChanged> changes = Changes(story);
  ASSERT_EQ(changes.size(), 2u);
  EXPECT_EQ(changes[0].prompt(), 1);
  EXPECT_EQ(changes[0].block(), 2);
  EXPECT_DOUBLE_EQ(Seconds(changes[0].pts_offset()), 17.0 / 16);
  EXPECT_EQ(changes[1].block(), 3);
  // What was shown before is what it would have been without.
  for (size_t i = 0; i < plain.chunks().size(); ++i) {
    const v1::Chunk& before = *plain.chunks()[i];
    // The fake engine's frames change alike under each prompt, and so do the chunks without a key frame.
    if (before.block() < 2 || before.starts_with_key_frame()) {
      EXPECT_EQ(before.data() == story.chunks()[i]->data(), before.block() < 2) << i;
    }
  }
  EXPECT_EQ(Generate(Story({{1.0, "night falls"}, {1.5, "the sun rises"}})).bytes, story.bytes);
  EXPECT_EQ(engine->passes_out_of_order(), 0);
  Drain();
  EXPECT_THAT(LogText(), testing::Not(HasSubstr("night")));
}

TEST_F(Direction, TokensOfAPromptAreCounted) {
  StartAndServe();
  const std::string long_prompt(2 * kFakePromptTokens, 'a');
  v1::GenerateVideoRequest request = Story({{1, long_prompt}});
  const Watched video = Generate(request);
  std::vector<std::pair<int, int>> tokens;
  for (const v1::WatchVideoResponse& event : video.events) {
    if (!event.has_prompt_changed()) continue;
    tokens.emplace_back(event.prompt_changed().tokens().given(), event.prompt_changed().tokens().used());
  }
  const int given = static_cast<int>(request.spec().prompt().size());
  EXPECT_THAT(tokens, testing::ElementsAre(std::pair(given, given),
                                           std::pair(int{2 * kFakePromptTokens}, int{kFakePromptTokens})));
  Drain();
  EXPECT_THAT(LogText(), testing::Not(HasSubstr(long_prompt))) << "prompts are never logged";
}

TEST_F(Direction, APromptCanBeChangedWhileTheVideoIsMade) {
  // The second block has begun when the prompt is changed, and goes on when that is answered.
  std::atomic<bool> begun = false, changed = false;
  StartAndServe({.delay = HoldBefore(
                     PassKind::kDenoise, 4,
                     [&] {
                       begun = true;
                       return changed.load();
                     },
                     "the changes")});
  v1::GenerateVideoRequest request = Request(4);
  v1::PromptChanged now, later, none;
  std::string name;
  const Watched video = Generate(request, [&](const v1::WatchVideoResponse& event, grpc::ClientContext&) {
    if (event.has_accepted()) name = event.accepted().video().name();
    if (!event.has_chunk() || event.chunk().block() != 0 || !event.chunk().last_in_block()) return;
    Await([&] { return begun.load(); }, "the second block");
    EXPECT_TRUE(Change(name, 0, "night falls", now).ok());
    EXPECT_TRUE(Change(name, 3, "the sun rises", later).ok());
    EXPECT_EQ(Change("videos/1", 0, "mine", none).error_code(), grpc::StatusCode::NOT_FOUND) << "a guess";
    EXPECT_EQ(Change(name, 3.9, "x", none).error_code(), grpc::StatusCode::INVALID_ARGUMENT) << "no block there";
    changed = true;
  });
  ASSERT_TRUE(video.status.ok());
  EXPECT_EQ(now.prompt(), 1);
  EXPECT_EQ(now.block(), 2) << "the next block";
  EXPECT_DOUBLE_EQ(Seconds(now.pts_offset()), 17.0 / 16);
  EXPECT_EQ(later.prompt(), 2);
  EXPECT_EQ(later.block(), 6);  // 49/16 s
  const std::vector<v1::PromptChanged> told = Changes(video);
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(told[0].SerializeAsString(), now.SerializeAsString());
  EXPECT_EQ(told[1].SerializeAsString(), later.SerializeAsString());
  for (const v1::Chunk* chunk : video.chunks()) {
    EXPECT_EQ(chunk->prompt(), chunk->block() >= 6 ? 2 : chunk->block() >= 2 ? 1 : 0);
  }
  EXPECT_EQ(ReasonOf(Change(name, 0, "too late", none)), "VIDEO_ENDED");
}

TEST_F(Direction, AVideoWithoutABlockLeftKeepsItsPrompt) {
  StartAndServe({.delay = HoldBefore(PassKind::kDenoise, 2, "the answer")});
  std::optional<grpc::Status> status;
  std::string name;
  Generate(Request(0.5), [&](const v1::WatchVideoResponse& event, grpc::ClientContext&) {
    v1::PromptChanged receipt;
    if (event.has_accepted()) name = event.accepted().video().name();
    // One block, and it has begun.
    if (event.has_progress() && event.progress().stage() == v1::Progress::STAGE_DENOISE && !status) {
      status = Change(name, 0, "night falls", receipt);
      go_on = true;
    }
  });
  ASSERT_TRUE(status.has_value());
  EXPECT_EQ(status->error_code(), grpc::StatusCode::FAILED_PRECONDITION) << status->error_message();
  EXPECT_EQ(ReasonOf(*status), "NO_BLOCK_LEFT");
}

TEST_F(Direction, ErrorsNameTheFields) {
  StartAndServe({.max_sessions = 1, .denoise = absl::Milliseconds(30)});
  const auto fields = [](const grpc::Status& status) {
    std::vector<std::string> fields;
    if (const auto bad = DetailOf<google::rpc::BadRequest>(status); bad.has_value()) {
      for (const auto& violation : bad->field_violations()) fields.push_back(violation.field());
    }
    return fields;
  };
  using testing::ElementsAre;
  EXPECT_THAT(fields(Generate(Story({{0, "a"}})).status), ElementsAre("spec.prompt_changes[0].at_offset"));
  EXPECT_THAT(fields(Generate(Story({{1, "a"}, {1.01, "b"}})).status), ElementsAre("spec.prompt_changes[1].at_offset"));
  EXPECT_THAT(fields(Generate(Story({{1.9, "a"}})).status), ElementsAre("spec.prompt_changes[0].at_offset"));
  v1::GenerateVideoRequest nowhere = Request(2);
  nowhere.mutable_spec()->add_prompt_changes()->set_prompt("a");
  EXPECT_THAT(fields(Generate(nowhere).status), ElementsAre("spec.prompt_changes[0].at_offset"));
  EXPECT_THAT(fields(Generate(Story({{1, " "}})).status), ElementsAre("spec.prompt_changes[0].prompt"));
  v1::PromptChanged receipt;
  EXPECT_THAT(fields(Change("videos/1", -1, std::string(5000, 'a'), receipt)),
              ElementsAre("change.prompt", "change.at_offset"));
  const grpc::Status none = Change("videos/17", 0, "a", receipt);
  EXPECT_EQ(none.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(ReasonOf(none), "VIDEO_NOT_FOUND");
  EXPECT_EQ(DetailOf<google::rpc::ResourceInfo>(none)->resource_name(), "videos/17");

  FakeEngineOptions keeps{.model = FakeModel()};
  keeps.model.switches_prompt = false;
  StartAndServe(keeps);
  EXPECT_THAT(fields(Generate(Story({{1, "a"}})).status), ElementsAre("spec.prompt_changes"));
  EXPECT_THAT(fields(Change("videos/1", 0, "a", receipt)), ElementsAre("change"));
}

// Half a second of video takes 0.54 s in 3 steps and 0.2 s in one.
TEST_F(Direction, StepsBecomeFewerWhereTheRequestAllowsIt) {
  FakeEngineOptions options{.denoise = absl::Milliseconds(170), .commit = absl::Milliseconds(10)};
  options.model = FakeModel();
  options.model.step_ladder = {3, 1};
  StartAndServe(options);
  v1::GenerateVideoRequest request = Request(4);
  const Watched full = Generate(request);
  for (const v1::Chunk* chunk : full.chunks()) EXPECT_EQ(chunk->denoise_steps(), 3);
  request.mutable_delivery_options()->set_fidelity(v1::FIDELITY_ADAPTIVE);
  const Watched adaptive = Generate(request);
  ASSERT_TRUE(adaptive.status.ok());
  std::vector<int> steps;
  for (const v1::Chunk* chunk : BlocksOf(adaptive)) steps.push_back(chunk->denoise_steps());
  EXPECT_THAT(steps, testing::Contains(1));
  EXPECT_THAT(steps, testing::Each(testing::AnyOf(1, 3)));
  EXPECT_EQ(engine->passes_out_of_order(), 0);
  // A block is counted behind its last chunk.
  AwaitMetrics(absl::StrCat("longtake_reduced_blocks_total ", std::count(steps.begin(), steps.end(), 1), "\n"));
}

// Half a second of video takes 0.6 s by the full decoder, and fewer steps save 0.04 s.
TEST_F(Direction, TheTinyDecoderHelpsWhereFewerStepsDoNot) {
  FakeEngineOptions options{.denoise = absl::Milliseconds(20)};
  options.model = FakeModel();
  options.model.step_ladder = {3, 1};
  options.model.has_tiny_decoder = true;
  options.model.tiny_decode_cost = 0.1;
  options.delay = [](const Pass& pass) {
    const bool slow = pass.kind == PassKind::kDecode && pass.decoder == DecoderKind::kFull;
    return slow ? absl::Milliseconds(300) : absl::ZeroDuration();
  };
  StartAndServe(options);
  v1::GenerateVideoRequest request = Request(4);
  request.mutable_delivery_options()->set_fidelity(v1::FIDELITY_ADAPTIVE);
  const Watched adaptive = Generate(request);
  ASSERT_TRUE(adaptive.status.ok());
  int tiny = 0, reduced = 0;
  for (const v1::Chunk* chunk : adaptive.chunks()) {
    const bool by_tiny = chunk->decoder() == v1::DECODER_TINY;
    EXPECT_EQ(chunk->decoder(), by_tiny ? v1::DECODER_TINY : v1::DECODER_FULL);
    if (by_tiny) {
      EXPECT_EQ(chunk->denoise_steps(), 1);
    }
    tiny += by_tiny;
    reduced += chunk->last_in_block() && (by_tiny || chunk->denoise_steps() < 3);
  }
  EXPECT_GT(tiny, 0);
  EXPECT_EQ(adaptive.chunks()[0]->decoder(), v1::DECODER_FULL) << "before anything was late";
  EXPECT_EQ(engine->passes_out_of_order(), 0);
  AwaitMetrics(absl::StrCat("longtake_reduced_blocks_total ", reduced, "\n"));

  // A request that names the tiny decoder has it throughout, and nothing below it.
  request.mutable_spec()->set_decoder(v1::DECODER_TINY);
  for (const v1::Chunk* chunk : Generate(request).chunks()) {
    EXPECT_EQ(chunk->decoder(), v1::DECODER_TINY);
    EXPECT_EQ(chunk->denoise_steps(), 3);
  }
}

// Chunks of noise are far larger than what gRPC buffers for a client that does not read.
TEST_F(Direction, AClientThatNeverReadsIsGivenUp) {
  FakeEngineOptions options{.model = FakeModel(), .noisy = true};
  options.model.sizes = {{320, 240}};
  options.model.frame_tokens = {300};
  StartAndServe(options, {.studio = {.max_unread = absl::Seconds(2)}, .clock = &clock});
  grpc::ClientContext context;
  const absl::Duration began = clock.Now();
  auto sleeper = stub->GenerateVideo(&context, Request(10, 1));
  Await([&] { return engine->open_sessions() == 1; }, "the place");
  Await(
      [&] {
        if (engine->open_sessions() == 0) return true;
        clock.Advance(absl::Milliseconds(10));
        return false;
      },
      "the end");
  EXPECT_GE(clock.Now() - began, absl::Seconds(2));
  AwaitMetrics("longtake_videos_ended_total{outcome=\"aborted\"} 1");
  EXPECT_TRUE(Generate(Request(1, 2)).status.ok());
  // Its call ends too, so nothing of it is kept: the server waits for all calls, and its clock stands still.
  Drain();
  v1::WatchVideoResponse event;
  while (sleeper->Read(&event)) {
  }
  EXPECT_FALSE(sleeper->Finish().ok());
}

}  // namespace
}  // namespace longtake::server
