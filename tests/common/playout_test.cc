#include "common/playout.h"

#include "gtest/gtest.h"

namespace longtake {
namespace {

absl::Duration At(double seconds) { return absl::Seconds(seconds); }

TEST(Playout, StartsWithTheFirstPiece) {
  Playout playout;
  EXPECT_FALSE(playout.started());
  EXPECT_EQ(playout.ReachedAt(At(1)), absl::InfiniteDuration());
  EXPECT_EQ(playout.Arrive(At(10), At(1)), absl::ZeroDuration());
  EXPECT_TRUE(playout.started());
  EXPECT_EQ(playout.Position(At(10.4)), At(0.4));
  EXPECT_EQ(playout.ReachedAt(At(3)), At(13));
}

TEST(Playout, StandsStillWhereAPieceIsMissing) {
  Playout playout;
  playout.Arrive(At(10), At(1));
  EXPECT_EQ(playout.Position(At(12)), At(1)) << "nothing more is there";
  EXPECT_EQ(playout.Arrive(At(12), At(2)), At(1));
  EXPECT_EQ(playout.stalls(), 1);
  EXPECT_EQ(playout.stalled(), At(1));
  EXPECT_EQ(playout.ReachedAt(At(2)), At(13)) << "what follows is needed so much later";
  EXPECT_EQ(playout.Arrive(At(13.5), At(3)), At(0.5));
  EXPECT_EQ(playout.stalled(), At(1.5));
}

TEST(Playout, ALittleIsNoStall) {
  Playout playout;
  playout.Arrive(At(10), At(1));
  EXPECT_EQ(playout.Arrive(At(11) + Playout::kTolerance, At(2)), absl::ZeroDuration());
  EXPECT_EQ(playout.stalls(), 0);
  EXPECT_EQ(playout.ReachedAt(At(2)), At(12));
  EXPECT_GT(playout.Arrive(At(12) + Playout::kTolerance + absl::Nanoseconds(1), At(3)), absl::ZeroDuration());
  EXPECT_EQ(playout.stalls(), 1);
}

TEST(Playout, APieceThatHadArrivedChangesNothing) {
  Playout playout;
  playout.Arrive(At(10), At(2));
  EXPECT_EQ(playout.Arrive(At(20), At(2)), absl::ZeroDuration());
  EXPECT_EQ(playout.Arrive(At(20), At(1)), absl::ZeroDuration());
  EXPECT_EQ(playout.stalls(), 0);
}

TEST(Playout, TheViewersOwnWordCounts) {
  Playout playout;
  playout.Report(At(1), At(0), false);
  EXPECT_FALSE(playout.started()) << "there is nothing to play";
  playout.Arrive(At(10), At(5));
  playout.Report(At(12), At(1), false);  // it buffered for a second
  EXPECT_EQ(playout.ReachedAt(At(5)), At(16));
  playout.Report(At(13), At(9), false);
  EXPECT_EQ(playout.Position(At(13)), At(5)) << "it cannot have played more than arrived";
}

TEST(Playout, APauseIsNoStall) {
  Playout playout;
  playout.Arrive(At(10), At(2));
  playout.Report(At(11), At(1), true);
  EXPECT_TRUE(playout.paused());
  EXPECT_EQ(playout.Position(At(100)), At(1));
  EXPECT_EQ(playout.ReachedAt(At(2)), absl::InfiniteDuration());
  EXPECT_EQ(playout.Arrive(At(100), At(3)), absl::ZeroDuration());
  playout.Report(At(110), At(1), false);
  EXPECT_EQ(playout.ReachedAt(At(3)), At(112));
  EXPECT_EQ(playout.Arrive(At(112), At(4)), absl::ZeroDuration());
  EXPECT_EQ(playout.stalls(), 0);
}

TEST(Playout, MovesWithThePieceThatCompletesTheFirstBlock) {
  Playout playout;
  EXPECT_EQ(playout.Arrive(At(10), At(0.1), false), absl::ZeroDuration());
  EXPECT_TRUE(playout.started());
  EXPECT_FALSE(playout.moves());
  EXPECT_EQ(playout.Position(At(11)), absl::ZeroDuration());
  EXPECT_EQ(playout.ReachedAt(At(1)), absl::InfiniteDuration());
  EXPECT_EQ(playout.Arrive(At(10.9), At(1), true), absl::ZeroDuration()) << "no longer than it plays";
  EXPECT_EQ(playout.ReachedAt(At(1)), At(11.9));
  EXPECT_EQ(playout.first(), At(10));
  EXPECT_EQ(playout.stalls(), 0);
}

TEST(Playout, AFirstBlockThatTakesLongerThanItPlaysIsAStall) {
  Playout playout;
  playout.Arrive(At(10), At(0.1), false);
  EXPECT_EQ(playout.Arrive(At(13), At(1), true), At(2));
  EXPECT_EQ(playout.stalls(), 1);
  EXPECT_EQ(playout.ReachedAt(At(1)), At(14));
}

TEST(Playout, APictureThatStandsStillWhenItsViewerGoesIsAStall) {
  Playout in_time, late, frozen, nothing;
  in_time.Arrive(At(0), At(2));
  EXPECT_EQ(in_time.Leave(At(1.9)), absl::ZeroDuration());
  EXPECT_EQ(in_time.stalls(), 0);
  late.Arrive(At(0), At(2));
  EXPECT_EQ(late.StandsStill(At(3)), At(1));
  EXPECT_EQ(late.stalls(), 0) << "is known, not yet counted";
  EXPECT_EQ(late.Leave(At(3)), At(1));
  EXPECT_EQ(late.stalls(), 1);
  frozen.Arrive(At(0), At(0.1), false);
  EXPECT_EQ(frozen.Leave(At(2)), absl::ZeroDuration()) << "how long its first block is only its caller knows";
  EXPECT_EQ(nothing.Leave(At(3)), absl::ZeroDuration()) << "waiting for the first picture is no stall";
  EXPECT_EQ(nothing.stalls(), 0);
}

TEST(Playout, AStallThatItsViewerReportsIsCountedOnce) {
  Playout playout;
  playout.Arrive(At(10), At(1));
  playout.Report(At(12), At(1), false);
  playout.Report(At(13), At(1), false);
  EXPECT_EQ(playout.Arrive(At(13.5), At(2)), At(0.5));
  EXPECT_EQ(playout.stalls(), 1);
  EXPECT_EQ(playout.stalled(), At(2.5));
  playout.Report(At(15.5), At(1.5), false);
  EXPECT_EQ(playout.stalls(), 1) << "it has something left to play";
}

}  // namespace
}  // namespace longtake
