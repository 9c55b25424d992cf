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
