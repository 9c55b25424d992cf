// Plans of videos: blocks and where prompts fall.
#include "server/video/request.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/video/video_name.h"
#include "tests/server/fake_engine.h"

namespace longtake::server {
namespace {

class Plan : public testing::Test {
 protected:
  absl::StatusOr<VideoPlan> Check(VideoSpec spec) {
    spec.prompt = "a red ball";
    return CheckRequest(spec, {}, {}, Purpose::kMake, engine, {}, 7);
  }
  FakeEngine engine{{.model = FakeModel()}};
};

TEST_F(Plan, LaysTheBlocks) {
  const absl::StatusOr<VideoPlan> plan = Check({.duration = absl::Seconds(2)});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_THAT(plan->block_frames, testing::ElementsAre(9, 8, 8, 8));
  EXPECT_THAT(plan->block_starts, testing::ElementsAre(0, 9, 17, 25, 33));
  EXPECT_EQ(plan->spec.seed, 7);
  // As CheckRequest's comment says: the first block that begins at or after a time.
  for (int block = 0; block < plan->blocks(); ++block) {
    EXPECT_EQ(plan->BlockAt(plan->BlockStart(block)), block);
    EXPECT_EQ(plan->BlockAt(plan->BlockStart(block) + absl::Nanoseconds(1)), block) << "a rounding error";
    EXPECT_EQ(plan->BlockAt(plan->BlockStart(block) + absl::Milliseconds(1)), block + 1);
  }
  EXPECT_EQ(plan->BlockAt(-absl::Seconds(1)), 0);
}

TEST_F(Plan, SessionsKeepTheAdaptersDigests) {
  ModelInfo model = FakeModel();
  model.adapters = {{"one", "0000000000000001"}, {"two", "0000000000000002"}};
  const FakeEngine with({.model = model});
  VideoSpec spec;
  spec.prompt = "a red ball";
  spec.duration = absl::Seconds(2);
  const auto check = [&](std::vector<Adapter> adapters) {
    spec.adapters = std::move(adapters);
    return CheckRequest(spec, {}, {}, Purpose::kMake, with, {}, 7);
  };
  const absl::StatusOr<VideoPlan> plan = check({{"two", 0.5}, {"one", 1}});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_THAT(plan->session.adapters, testing::ElementsAre(AdapterUse{"two", 0.5, "0000000000000002"},
                                                           AdapterUse{"one", 1, "0000000000000001"}));
  const auto refused = [&](std::vector<Adapter> adapters, const std::string& field, const std::string& why) {
    const absl::Status status = check(std::move(adapters)).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()), testing::AllOf(testing::HasSubstr(field), testing::HasSubstr(why)));
  };
  refused({{"one", 1}, {"three", 1}}, "spec.adapters[1].name", "the names are one, two");
  refused({{"one", 1}, {"one", 1}}, "spec.adapters[1].name", "given twice");
  refused({{"one", -101}}, "spec.adapters[0].strength", "-100 ... 100");
  refused(std::vector<Adapter>(9, {"one", 1}), "spec.adapters", "above the limit of 8");
}

TEST_F(Plan, SessionsHaveTheDecoderThatTheModelHas) {
  VideoSpec spec;
  spec.prompt = "a red ball";
  spec.duration = absl::Seconds(2);
  ModelInfo model = FakeModel();
  const auto check = [&] {
    const FakeEngine with({.model = model});
    return CheckRequest(spec, {}, {}, Purpose::kMake, with, {}, 7);
  };
  EXPECT_EQ(check()->session.decoder, DecoderKind::kFull);
  spec.decoder = DecoderKind::kTiny;
  const absl::Status status = check().status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("spec.decoder: this model has no tiny decoder"));
  model.has_tiny_decoder = true;
  EXPECT_EQ(check()->session.decoder, DecoderKind::kTiny);
}

TEST_F(Plan, ChangesFallToBlocks) {
  const absl::StatusOr<VideoPlan> plan =
      Check({.duration = absl::Seconds(2),
             .prompt_changes = {{"night falls", absl::Milliseconds(600)}, {"snow", absl::Milliseconds(1500)}}});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_THAT(plan->prompt_blocks, testing::ElementsAre(2, 3));
  EXPECT_THAT(plan->prompts, testing::ElementsAre("a red ball", "night falls", "snow"));
}

TEST(VideoName, IsRandom) {
  const std::string a = NewVideoName(), b = NewVideoName();
  EXPECT_THAT(a, testing::MatchesRegex("videos/[0-9a-f]{32}"));
  EXPECT_NE(a, b);
}

}  // namespace
}  // namespace longtake::server
