// What tenants may have at several servers together, on a clock that stands still.
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/access/access.h"
#include "server/store/tenant_counters.h"
#include "server/video/error.h"
#include "spdlog/sinks/ostream_sink.h"
#include "tests/server/fake_clock.h"

namespace longtake::server {
namespace {

using scheduler::Delivery;
using testing::HasSubstr;

const Tenant kAcme{"acme"}, kOther{"umbrella"};

// What Redis has; registry_test is about Redis itself.
struct Shared {
  std::map<std::string, std::set<std::string>> making;
  std::map<std::pair<std::string, int64_t>, std::map<int, double>> used;  // by server
  std::map<std::string, int64_t> calls;
  bool away = false;
};

class FakeCounters : public TenantCounters {
 public:
  FakeCounters(Shared* shared, int server) : shared_(shared), server_(server) {}

  absl::StatusOr<Counted> CountVideo(const std::string& tenant, const std::string& video, std::optional<int64_t> most,
                                     int64_t hour) override {
    if (shared_->away) return absl::UnavailableError("registry: away");
    std::set<std::string>& making = shared_->making[tenant];
    Counted counted{.counted = making.contains(video), .device_seconds = {}};
    if (!counted.counted && (!most.has_value() || static_cast<int64_t>(making.size()) < *most)) {
      making.insert(video);
      counted.counted = true;
    }
    for (int64_t each = hour - 23; each <= hour; ++each) {
      double sum = 0;
      for (const auto& [server, seconds] : shared_->used[{tenant, each}]) sum += seconds;
      counted.device_seconds.push_back(sum);
    }
    return counted;
  }
  absl::Status SetUsed(const std::vector<Used>& used) override {
    if (shared_->away) return absl::UnavailableError("registry: away");
    for (const Used& each : used) shared_->used[{each.tenant, each.hour}][server_] = each.seconds;
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<int64_t>> AddCalls(const std::vector<Calls>& calls) override {
    if (shared_->away) return absl::UnavailableError("registry: away");
    std::vector<int64_t> sums;
    for (const Calls& each : calls) sums.push_back(shared_->calls[each.tenant] += each.calls);
    return sums;
  }

 private:
  Shared* const shared_;
  const int server_;
};

class QuotasSharingTest : public testing::Test {
 protected:
  struct Node {
    std::unique_ptr<FakeCounters> counters;
    std::unique_ptr<Quotas> quotas;
  };
  void TearDown() override { std::remove(path.c_str()); }
  // One more server.
  Node Open(const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
    auto opened = Quotas::Open(path, /*max_waiting=*/8, &clock, &metrics, &logger,
                               [this] { return absl::UnixEpoch() + clock.Now(); });
    EXPECT_TRUE(opened.ok()) << opened.status();
    Node node{.counters = std::make_unique<FakeCounters>(&shared, ++servers), .quotas = *std::move(opened)};
    EXPECT_TRUE(node.quotas->Share(node.counters.get(), /*with_thread=*/false).ok());
    return node;
  }
  // The quota that refuses; "": none does.
  static std::string RefusedBy(const absl::Status& status) {
    return status.ok() ? "" : DetailsOf(status).metadata.at("quota");
  }
  std::string New(Node& at, uint64_t id, bool restored = false) {
    last = at.quotas->OnNew(id, kAcme, absl::StrCat("videos/", id), Delivery::kLive, restored);
    return RefusedBy(last);
  }
  bool Call(Node& at) { return at.quotas->OnCall(kAcme).ok(); }

  const std::string path = absl::StrCat(testing::TempDir(), "/quotas_sharing_", getpid());
  FakeClock clock;
  Metrics metrics;
  std::ostringstream log;
  spdlog::logger logger{"test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log)};
  Shared shared;
  int servers = 0;
  absl::Status last;
};

TEST_F(QuotasSharingTest, VideosCountAtAllServersTogether) {
  constexpr char kTwo[] = R"({"*": {"concurrent_videos": 2}})";
  Node a = Open(kTwo), b = Open(kTwo);
  EXPECT_EQ(New(a, 1), "");
  EXPECT_EQ(New(b, 2), "");
  EXPECT_EQ(New(a, 3), "concurrent_videos");
  EXPECT_EQ(New(b, 4), "concurrent_videos");
  EXPECT_TRUE(b.quotas->OnNew(5, kOther, "videos/5", Delivery::kLive, /*restored=*/false).ok());
  // b goes on with what a has left: it is not refused, and not counted twice.
  a.quotas->OnOver(1);
  EXPECT_EQ(New(b, 1, /*restored=*/true), "");
  EXPECT_EQ(shared.making["acme"].size(), 2u);
  EXPECT_EQ(New(a, 6), "concurrent_videos");
  shared.making["acme"].erase("videos/1");  // as the registry does when it is released
  EXPECT_EQ(New(a, 7), "");
}

TEST_F(QuotasSharingTest, DeviceSecondsCountAtAllServersAndBehindARestart) {
  constexpr char kTen[] = R"({"*": {"device_seconds_a_day": 10}})";
  clock.Advance(absl::Hours(1000) - absl::Seconds(1));  // the clock began at 1 s
  Node a = Open(kTen), b = Open(kTen);
  EXPECT_EQ(New(a, 1), "");
  a.quotas->OnUsed(1, 6);
  a.quotas->Exchange();
  EXPECT_EQ(New(b, 2), "");
  b.quotas->OnUsed(2, 5);
  EXPECT_EQ(New(a, 3), "") << "what b has used is not known yet";
  b.quotas->Exchange();
  EXPECT_EQ(New(a, 4), "device_seconds_a_day");
  EXPECT_EQ(DetailsOf(last).retry_delay, absl::Hours(24));
  EXPECT_EQ(New(b, 5), "device_seconds_a_day");
  b = Open(kTen);
  EXPECT_EQ(New(b, 6), "device_seconds_a_day") << "a server that starts again forgets nothing";
  clock.Advance(absl::Hours(24) - absl::Seconds(1));
  EXPECT_EQ(New(a, 7), "device_seconds_a_day");
  clock.Advance(absl::Seconds(1));
  EXPECT_EQ(New(a, 8), "");
}

TEST_F(QuotasSharingTest, DeviceSecondsThatWereForgottenAreToldAgain) {
  Node a = Open(R"({"*": {"device_seconds_a_day": 10}})");
  EXPECT_EQ(New(a, 1), "");
  a.quotas->OnUsed(1, 20);
  a.quotas->Exchange();
  shared.used.clear();
  clock.Advance(absl::Minutes(1));
  a.quotas->Exchange();
  EXPECT_EQ(New(a, 2), "device_seconds_a_day");
}

// Calls as fast as they are let in, at three servers.
TEST_F(QuotasSharingTest, WhoCallsMoreGetsTheRateOfOneServer) {
  constexpr char kFive[] = R"({"*": {"calls_a_second": 5}})";
  std::vector<Node> nodes;
  for (int i = 0; i < 3; ++i) nodes.push_back(Open(kFive));
  const double bound = 2 * 3 + 1;  // seconds beside those that pass
  int64_t let_in = 0;
  for (int step = 0; step < 200 * 20; ++step) {
    for (size_t i = 0; i < nodes.size(); ++i) {
      while (Call(nodes[i])) ++let_in;
      // Each at its own moment.
      if (step % 10 == static_cast<int>(3 * i)) nodes[i].quotas->Exchange();
    }
    clock.Advance(absl::Milliseconds(50));
    EXPECT_LE(static_cast<double>(let_in), 5 * ((step + 1) / 20.0 + bound)) << "after step " << step;
  }
  EXPECT_GE(let_in, 5 * (200 - 1));
}

TEST_F(QuotasSharingTest, WhoComesBackAgainAndAgainGetsNoMore) {
  constexpr char kFive[] = R"({"*": {"calls_a_second": 5}})";
  std::vector<Node> nodes;
  for (int i = 0; i < 6; ++i) nodes.push_back(Open(kFive));
  int64_t let_in = 0;
  // A burst each 3 s: six full buckets at first.
  for (int step = 0; step < 300 * 2; ++step) {
    for (Node& node : nodes) {
      while (step % 6 == 0 && Call(node)) ++let_in;
      node.quotas->Exchange();
    }
    clock.Advance(absl::Milliseconds(500));
  }
  EXPECT_LE(let_in, 5 * (300 + 2 * 6 + 1));
}

TEST_F(QuotasSharingTest, WhoKeepsToTheRateIsNeverRefused) {
  constexpr char kFour[] = R"({"*": {"calls_a_second": 4}})";
  std::vector<Node> nodes;
  for (int i = 0; i < 4; ++i) nodes.push_back(Open(kFour));
  for (int step = 0; step < 400; ++step) {
    EXPECT_TRUE(Call(nodes[step % 4])) << "call " << step;
    if (step % 2 == 1) {
      for (Node& node : nodes) node.quotas->Exchange();
    }
    clock.Advance(absl::Milliseconds(250));
  }
}

TEST_F(QuotasSharingTest, WhileTheCountersAreAwayEachServerCountsAlone) {
  constexpr char kText[] = R"({"*": {"concurrent_videos": 1, "calls_a_second": 2}})";
  Node a = Open(kText), b = Open(kText);
  EXPECT_TRUE(Call(a));
  EXPECT_TRUE(Call(b));
  a.quotas->Exchange();
  b.quotas->Exchange();
  shared.away = true;
  EXPECT_EQ(New(a, 1), "");
  EXPECT_EQ(New(b, 2), "");
  EXPECT_EQ(New(a, 3), "concurrent_videos");
  for (int step = 0; step < 60; ++step) {
    EXPECT_TRUE(Call(a));
    EXPECT_TRUE(Call(b));
    a.quotas->Exchange();
    b.quotas->Exchange();
    clock.Advance(absl::Milliseconds(500));
  }
  int said = 0;
  const std::string alone = "quotas count this server alone: registry: away";
  for (size_t at = 0; (at = log.str().find(alone, at)) != std::string::npos; ++at) ++said;
  EXPECT_EQ(said, 2) << "each of the two says so once";
  EXPECT_THAT(metrics.Text(), HasSubstr("longtake_quota_exchanges_total{counts=\"all_servers\"} 2"));
  shared.away = false;
  // The calls of that minute are nobody's debt.
  a.quotas->Exchange();
  b.quotas->Exchange();
  a.quotas->Exchange();
  EXPECT_TRUE(Call(a));
  EXPECT_TRUE(Call(b));
  EXPECT_THAT(log.str(), HasSubstr("quotas count all servers again"));
}

}  // namespace
}  // namespace longtake::server
