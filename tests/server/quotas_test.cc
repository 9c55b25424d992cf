// What tenants may have, on a clock that stands still.
#include <cstdio>
#include <fstream>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/access/access.h"
#include "server/access/usage.h"
#include "server/video/error.h"
#include "spdlog/sinks/ostream_sink.h"
#include "tests/server/fake_clock.h"

namespace longtake::server {
namespace {

using scheduler::Delivery;
using testing::HasSubstr;

const Tenant kAcme{"acme"}, kOther{"umbrella"};
constexpr int kMaxWaiting = 8;

class QuotasTest : public testing::Test {
 protected:
  void TearDown() override { std::remove(path.c_str()); }
  void Write(const std::string& text) const { std::ofstream(path, std::ios::binary) << text; }
  absl::Status Open(const std::string& text) {
    Write(text);
    auto opened =
        Quotas::Open(path, kMaxWaiting, &clock, &metrics, &logger, [this] { return absl::UnixEpoch() + clock.Now(); });
    if (!opened.ok()) return opened.status();
    quotas = *std::move(opened);
    return absl::OkStatus();
  }
  // The quota that refuses; "": none does.
  static std::string RefusedBy(const absl::Status& status) {
    if (status.ok()) return "";
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    const ErrorDetails details = DetailsOf(status);
    EXPECT_EQ(details.reason, Reason::kQuotaExceeded);
    EXPECT_THAT(std::string(status.message()), HasSubstr(details.metadata.at("quota")));
    return details.metadata.at("quota");
  }
  std::string New(uint64_t id, const Tenant& tenant = kAcme, Delivery delivery = Delivery::kLive,
                  bool restored = false) {
    last = quotas->OnNew(id, tenant, absl::StrCat("videos/", id), delivery, restored);
    return RefusedBy(last);
  }
  std::string Call(const Tenant& tenant = kAcme) {
    last = quotas->OnCall(tenant);
    return RefusedBy(last);
  }
  absl::Duration Retry() const { return DetailsOf(last).retry_delay.value_or(absl::InfiniteDuration()); }

  const std::string path = absl::StrCat(testing::TempDir(), "/quotas_", getpid());
  FakeClock clock;
  Metrics metrics;
  std::ostringstream log;
  spdlog::logger logger{"test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log)};
  std::unique_ptr<Quotas> quotas;
  absl::Status last;
};

TEST_F(QuotasTest, AWrongFileNamesTenantAndField) {
  for (const auto& [text, what] : std::vector<std::pair<std::string, std::string>>{
           {"[]", "is no JSON object"},
           {"{", "is no JSON object"},
           {R"({"acme": 3})", "\"acme\": is no object"},
           {R"({"*": {"videos": 3}})", "\"*\": videos: is no quota"},
           {R"({"acme": {"concurrent_videos": 1.5}})", "\"acme\": concurrent_videos: is no whole number from 0"},
           {R"({"acme": {"watches": -1}})", "watches: is no whole number from 0"},
           {R"({"acme": {"watches": "many"}})", "watches: is no whole number from 0"},
           {R"({"acme": {"queue_share": 1.1}})", "queue_share: is no number from 0 to 1"},
           {R"({"acme": {"calls_a_second": 0}})", "calls_a_second: is no number above 0"}}) {
    EXPECT_THAT(std::string(Open(text).message()), testing::AllOf(HasSubstr(path), HasSubstr(what)));
  }
}

TEST_F(QuotasTest, WithoutAFileNothingIsLimited) {
  quotas = *Quotas::Open("", kMaxWaiting, &clock, &metrics, &logger);
  for (uint64_t id = 1; id <= 100; ++id) {
    EXPECT_EQ(New(id), "");
    EXPECT_EQ(Call(), "");
    EXPECT_TRUE(quotas->OpenWatch(kAcme).ok());
    quotas->OnOver(id);
  }
}

TEST_F(QuotasTest, ATenantsLineComesBeforeThatOfAll) {
  ASSERT_TRUE(
      Open(
          R"({"acme": {"concurrent_videos": 2}, "free": {"watches": null}, "*": {"concurrent_videos": 1, "watches": 1}})")
          .ok());
  EXPECT_EQ(New(1), "");
  EXPECT_EQ(New(2), "");
  EXPECT_EQ(New(3), "concurrent_videos");
  EXPECT_EQ(New(4, kOther), "");
  EXPECT_EQ(New(5, kOther), "concurrent_videos");
  const auto one = quotas->OpenWatch(kAcme);  // what its line leaves out is as for all
  EXPECT_EQ(RefusedBy(quotas->OpenWatch(kAcme).status()), "watches");
  const auto first = quotas->OpenWatch({"free"}), second = quotas->OpenWatch({"free"});
  EXPECT_TRUE(second.ok());
}

TEST_F(QuotasTest, VideosCountUntilTheyAreOver) {
  ASSERT_TRUE(Open(R"({"*": {"concurrent_videos": 2}})").ok());
  EXPECT_EQ(New(1), "");
  EXPECT_EQ(New(2, kAcme, Delivery::kOffline), "");
  EXPECT_EQ(New(3), "concurrent_videos");
  EXPECT_EQ(Retry(), absl::InfiniteDuration());  // nobody knows when one ends
  quotas->OnOver(3);                             // was not counted
  quotas->OnOver(1);
  quotas->OnOver(1);
  EXPECT_EQ(New(4), "");
  EXPECT_EQ(New(5), "concurrent_videos");
  // What was accepted before the server's start goes on, and counts.
  EXPECT_EQ(New(6, kAcme, Delivery::kLive, /*restored=*/true), "");
  quotas->OnOver(2);
  EXPECT_EQ(New(7), "concurrent_videos");
  EXPECT_THAT(metrics.Text(), HasSubstr("longtake_quota_refusals_total{quota=\"concurrent_videos\"} 3"));
  EXPECT_THAT(metrics.Text(), HasSubstr("longtake_quota_refusals_total{quota=\"watches\"} 0"));
  EXPECT_FALSE(absl::StrContains(metrics.Text(), "acme"));
}

TEST_F(QuotasTest, AShareOfTheQueueIsOfEachDelivery) {
  ASSERT_TRUE(
      Open(R"({"acme": {"queue_share": 0.25}, "small": {"queue_share": 0.01}, "none": {"queue_share": 0}})").ok());
  for (uint64_t id = 1; id <= 2; ++id) {
    EXPECT_EQ(New(id), "");
    quotas->OnWaiting(id);
    quotas->OnWaiting(id);  // its position has changed
  }
  EXPECT_EQ(New(3), "queue_share");
  EXPECT_EQ(New(4, kAcme, Delivery::kOffline), "");
  EXPECT_EQ(New(5, kOther), "");
  quotas->OnPlaced(1);
  EXPECT_EQ(New(6), "");
  quotas->OnWaiting(6);
  EXPECT_EQ(New(7), "queue_share");
  quotas->OnOver(6);  // gave up waiting
  EXPECT_EQ(New(8), "");
  // A share below one place is one, and none is none.
  EXPECT_EQ(New(9, {"small"}), "");
  quotas->OnWaiting(9);
  EXPECT_EQ(New(10, {"small"}), "queue_share");
  EXPECT_EQ(New(11, {"none"}), "queue_share");
}

TEST_F(QuotasTest, CallsFlowInAtTheirRate) {
  ASSERT_TRUE(Open(R"({"*": {"calls_a_second": 4}, "slow": {"calls_a_second": 0.5}})").ok());
  for (int i = 0; i < 4; ++i) EXPECT_EQ(Call(), "");
  EXPECT_EQ(Call(), "calls_a_second");
  EXPECT_EQ(Retry(), absl::Milliseconds(250));
  EXPECT_EQ(Call(kOther), "");
  clock.Advance(absl::Milliseconds(249));
  EXPECT_EQ(Call(), "calls_a_second");
  clock.Advance(absl::Milliseconds(1));
  EXPECT_EQ(Call(), "");
  EXPECT_EQ(Call(), "calls_a_second");
  clock.Advance(absl::Hours(10));
  for (int i = 0; i < 4; ++i) EXPECT_EQ(Call(), "");
  EXPECT_EQ(Call(), "calls_a_second");  // no more than a second's is saved up
  EXPECT_EQ(Call({"slow"}), "");
  EXPECT_EQ(Call({"slow"}), "calls_a_second");
  EXPECT_EQ(Retry(), absl::Seconds(2));
}

TEST_F(QuotasTest, DeviceSecondsCountForADay) {
  ASSERT_TRUE(Open(R"({"acme": {"device_seconds_a_day": 10}, "none": {"device_seconds_a_day": 0}})").ok());
  clock.Advance(absl::Hours(1000) - absl::Seconds(1));  // the clock began at 1 s
  EXPECT_EQ(New(1), "");
  quotas->OnUsed(1, 6);
  EXPECT_EQ(New(2), "");
  clock.Advance(absl::Hours(5) + absl::Minutes(30));
  quotas->OnUsed(2, 5);
  quotas->OnUsed(99, 1000);  // nobody's
  EXPECT_EQ(New(3), "device_seconds_a_day");
  // What was used in the first hour counts until a day behind it.
  EXPECT_EQ(Retry(), absl::Hours(18) + absl::Minutes(30));
  clock.Advance(Retry() - absl::Seconds(1));
  EXPECT_EQ(New(3), "device_seconds_a_day");
  clock.Advance(absl::Seconds(1));
  EXPECT_EQ(New(3), "");
  EXPECT_EQ(New(4, {"none"}), "device_seconds_a_day");
  EXPECT_EQ(Retry(), absl::InfiniteDuration());
}

TEST(UsedToday, ForgetsEachHourADayLater) {
  UsedToday used;
  absl::Duration now = absl::Hours(5);
  for (int hour = 0; hour < 24; ++hour, now += absl::Hours(1)) used.Add(now, 1);
  now -= absl::Hours(1);
  EXPECT_EQ(used.Sum(now), 24);
  EXPECT_EQ(used.UntilBelow(now, 20), absl::Hours(5));
  for (int hour = 23; hour >= 0; --hour) EXPECT_EQ(used.Sum(now += absl::Hours(1)), hour);
  used.Add(now, 3);
  EXPECT_THAT(used.Hours(now), testing::ElementsAre(testing::Pair(UsedToday::HourOf(now), 3.0)));
  EXPECT_EQ(used.Sum(now + absl::Hours(100)), 0);
  EXPECT_THAT(used.Hours(now + absl::Hours(100)), testing::IsEmpty());
}

TEST_F(QuotasTest, AWatchCountsUntilItIsLetGo) {
  ASSERT_TRUE(Open(R"({"*": {"watches": 2}})").ok());
  absl::StatusOr<std::shared_ptr<void>> first = quotas->OpenWatch(kAcme), second = quotas->OpenWatch(kAcme);
  EXPECT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(RefusedBy(quotas->OpenWatch(kAcme).status()), "watches");
  EXPECT_TRUE(quotas->OpenWatch(kOther).ok());
  first->reset();
  EXPECT_TRUE(quotas->OpenWatch(kAcme).ok());
}

TEST_F(QuotasTest, AChangedFileHoldsForWhatComesNext) {
  ASSERT_TRUE(Open(R"({"*": {"concurrent_videos": 3}})").ok());
  EXPECT_EQ(New(1), "");
  EXPECT_EQ(New(2), "");
  Write(R"({"*": {"concurrent_videos": 1}})"
        " ");
  clock.Advance(absl::Seconds(1));
  EXPECT_EQ(New(3), "concurrent_videos");
  Write("{");
  clock.Advance(absl::Seconds(1));
  EXPECT_EQ(New(3), "concurrent_videos");
  EXPECT_THAT(log.str(), HasSubstr("is no JSON object"));
}

TEST_F(QuotasTest, ManyTenantsAreForgottenWithoutWhatTheyHave) {
  ASSERT_TRUE(Open(R"({"*": {"concurrent_videos": 1, "calls_a_second": 1}})").ok());
  EXPECT_EQ(New(1), "");
  for (int i = 0; i < 10'000; ++i) {
    EXPECT_EQ(Call({absl::StrCat("tenant", i)}), "");
    clock.Advance(absl::Seconds(10));
  }
  EXPECT_EQ(New(2), "concurrent_videos");
  EXPECT_EQ(Call({"tenant9999"}), "");
  EXPECT_EQ(Call({"tenant9999"}), "calls_a_second");
}

}  // namespace
}  // namespace longtake::server
