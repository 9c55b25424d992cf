// What the load generator sends, and how it judges what comes back.
#include <cmath>

#include "clients/cli/load/report.h"
#include "clients/cli/load/visits.h"
#include "common/percentile.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace longtake::client {
namespace {

TEST(Visits, AreThoseOfTheirSeed) {
  const Mix mix{.offline = 0.3, .impatient = 0.1, .slow = 0.05, .sizes = {"256x160", "128x96"}};
  const std::vector<Visit> a = PoissonVisits(mix, 20, 300, 7), b = PoissonVisits(mix, 20, 300, 7);
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].arrives, b[i].arrives);
    EXPECT_EQ(a[i].seconds, b[i].seconds);
    EXPECT_EQ(a[i].prompt, b[i].prompt);
    EXPECT_EQ(a[i].seed, b[i].seed);
  }
  EXPECT_NE(PoissonVisits(mix, 20, 300, 8)[0].arrives, a[0].arrives);
}

TEST(Visits, HaveTheSharesOfTheMix) {
  const Mix mix{
      .shortest = 2, .longest = 32, .offline = 0.3, .impatient = 0.1, .patience = 3, .slow = 0.05, .sizes = {"a", "b"}};
  const std::vector<Visit> visits = PoissonVisits(mix, 40, 500, 1);
  // Bounds are five standard deviations of what is counted.
  const double n = static_cast<double>(visits.size());
  EXPECT_NEAR(n, 20'000, 5 * std::sqrt(20'000));
  double offline = 0, impatient = 0, slow = 0, large = 0, seconds = 0, last = 0, pauses = 0;
  for (const Visit& visit : visits) {
    EXPECT_GE(visit.seconds, 2);
    EXPECT_LE(visit.seconds, 32);
    EXPECT_GE(visit.arrives, last);
    pauses += (visit.arrives - last) * (visit.arrives - last);
    last = visit.arrives;
    offline += visit.offline;
    impatient += visit.patience == 3;
    slow += visit.slow;
    large += visit.size == "a";
    seconds += visit.seconds;
    EXPECT_FALSE(visit.offline && (visit.slow || visit.patience != kPatience));
  }
  EXPECT_LE(last, 500);
  EXPECT_NEAR(offline / n, 0.3, 5 * std::sqrt(0.3 * 0.7 / n));
  EXPECT_NEAR(impatient / n, 0.7 * 0.1, 5 * std::sqrt(0.07 / n));
  EXPECT_NEAR(slow / n, 0.7 * 0.05, 5 * std::sqrt(0.035 / n));
  EXPECT_NEAR(large / n, 0.5, 5 * 0.5 / std::sqrt(n));
  EXPECT_NEAR(seconds / n, MeanSeconds(mix), 5 * 8 / std::sqrt(n));
  // An exponential pause's mean square is twice its square mean; evenly spaced arrivals would give once.
  EXPECT_NEAR(pauses / n, 2.0 / (40 * 40), 0.1 * 2.0 / (40 * 40));
}

TEST(Percentile, IsAValueOfTheList) {
  EXPECT_EQ(Percentile({}, 0.5), 0);
  EXPECT_EQ(Percentile({3, 1, 2}, 0.5), 2);
  EXPECT_EQ(Percentile({3, 1, 2, 4}, 0.5), 2);
  std::vector<double> hundred;
  for (int i = 100; i > 0; --i) hundred.push_back(i);
  EXPECT_EQ(Percentile(hundred, 0.99), 99);
  EXPECT_EQ(Percentile(hundred, 1), 100);
}

Record LiveRecord(End end, std::vector<double> arrivals) {
  Record record;
  record.end = end;
  record.accepted = 0.01;
  for (double at : arrivals) record.OnChunk(at, 1, true);
  return record;
}

TEST(Report, ComparesWhatWasPromisedWithWhatCame) {
  Record kept = LiveRecord(End::kFinished, {2}), late = LiveRecord(End::kFinished, {3});
  Record in_vain = LiveRecord(End::kLeft, {}), left_before = in_vain, no_promise = LiveRecord(End::kFinished, {9});
  kept.quoted = late.quoted = 2.5;
  in_vain.quoted = left_before.quoted = 2.5;
  in_vain.ended = 4;
  left_before.ended = 1;
  const nlohmann::json report = Report({kept, late, in_vain, left_before, no_promise}, {}, {});
  EXPECT_EQ(report["quotes"], 3);
  EXPECT_NEAR(report["quote_kept"], 1.0 / 3, 1e-12);
  EXPECT_NEAR(report["quote_over_actual_p50"], 2.5 / 3, 1e-12);
  EXPECT_EQ(report["judged"], 4) << "all but the one who left before the promise";
  EXPECT_EQ(report["late_first_chunks"], 2);
  EXPECT_NEAR(report["continuity"], 2.0 / 4, 1e-12);
}

TEST(Timeline, SumsTheVideoOfWholeSeconds) {
  Timeline timeline;
  timeline.AddVideo(0.2, 1);
  timeline.AddVideo(1.7, 2);
  EXPECT_EQ(timeline.Video(0, 2), 3);
  EXPECT_EQ(timeline.Video(1, 9), 2);
  EXPECT_EQ(timeline.Video(-1, 0), 0) << "what is shown half a second after the beginning";
}

TEST(Report, JudgesAdmittedViewersOnly) {
  std::vector<Record> records = {LiveRecord(End::kFinished, {0.5, 1.0, 2.0}), LiveRecord(End::kFinished, {1.5, 4.0}),
                                 LiveRecord(End::kLeft, {}), LiveRecord(End::kCut, {}),
                                 LiveRecord(End::kFailed, {0.7})};
  Record refused;
  refused.end = End::kRefused;
  refused.asked = 1;
  refused.ended = 1.02;
  records.push_back(refused);
  Record offline = LiveRecord(End::kFinished, {1, 5});
  offline.visit.offline = true;
  records.push_back(offline);
  Timeline timeline;
  timeline.AddVideo(0.5, 4);  // warming up
  timeline.AddVideo(2.5, 2);
  timeline.AddVideo(3.5, 1);
  timeline.SetWatching(2.1, 2);
  timeline.SetWatching(3.1, 1);
  const nlohmann::json report = Report(records, timeline, {.warm = 2, .ended = 4});
  EXPECT_EQ(report["viewers"], 7);
  EXPECT_EQ(report["live"], 6);
  EXPECT_EQ(report["admitted"], 6);
  EXPECT_EQ(report["refused"], 1);
  EXPECT_EQ(report["left"], 1);
  EXPECT_EQ(report["judged"], 3);  // both finished ones and the failed one
  EXPECT_NEAR(report["continuity"], 1.0 / 3, 1e-12);
  EXPECT_EQ(report["stalls"], 1);
  EXPECT_DOUBLE_EQ(report["stall_s"], 1.5);
  EXPECT_DOUBLE_EQ(report["video_s_per_s"], 1.5);
  EXPECT_DOUBLE_EQ(report["watching_mean"], 1.5);
  EXPECT_NEAR(report["refuse_ms"]["p99"], 20, 1e-9);
  EXPECT_DOUBLE_EQ(report["first_chunk_s"]["p50"], 0.7);
  EXPECT_THAT(Table(report), testing::HasSubstr("0.3333 of 3 viewers"));
}

}  // namespace
}  // namespace longtake::client
