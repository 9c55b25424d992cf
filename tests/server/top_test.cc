// What /status says and to whom, and what `longtake top` makes of it.
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "clients/cli/top/view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/access_fixture.h"
#include "tests/server/gate.h"
#include "tests/server/http_client.h"

namespace longtake::server {
namespace {

using client::ParseSample;
using client::Sample;
using client::View;
using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

json Status(int videos) {
  json status = {{"videos", json::array()},
                 {"ended_videos", 7},
                 {"chunk_bytes", 1 << 30},
                 {"max_sessions", 4},
                 {"quotas", {{{"tenant", "acme"}, {"quota", "watches"}, {"used", 2}, {"limit", 8}}}},
                 {"store", {{"directory", "/videos"}, {"limit_bytes", 10.0 * (1 << 30)}}}};
  for (int i = 0; i < videos; ++i) {
    status["videos"].push_back({{"name", absl::StrCat("videos/", i)},
                                {"tenant", "acme\x1b[2J\n"},
                                {"state", "making"},
                                {"delivery", "live"},
                                {"blocks", 3},
                                {"blocks_total", 12},
                                {"viewers", 2},
                                {"lead_seconds", i == 0 ? json(4.25) : json()},
                                {"age_seconds", 3725}});
  }
  return status;
}

std::string Text(double device_seconds, double batches, double passes) {
  return absl::StrCat("# HELP longtake_x y z\n# TYPE longtake_x gauge\n",
                      "longtake_build_info{version=\"1.2.3\",commit=\"0123456789ab\"} 1\n",
                      "longtake_model_info{model=\"a model\",numerics_id=\"n\"} 1\n",
                      "longtake_pass_device_seconds_sum{kind=\"denoise\"} ", device_seconds, "\n",
                      "longtake_pass_device_seconds_count{kind=\"denoise\"} ", passes, "\n",
                      "longtake_batch_passes_count ", batches, "\nlongtake_batch_passes_sum ", passes,
                      "\nlongtake_queue_length{delivery=\"live\"} 5\n");
}

Sample SampleAt(double seconds, const std::string& metrics, int videos) {
  const absl::StatusOr<Sample> sample =
      ParseSample(absl::UnixEpoch() + absl::Seconds(seconds), metrics, Status(videos).dump());
  EXPECT_TRUE(sample.ok()) << sample.status();
  return *sample;
}

TEST(TopView, RatesAreThoseBetweenTwoSamples) {
  const Sample before = SampleAt(10, Text(100, 10, 40), 0), now = SampleAt(12, Text(101.5, 14, 50), 1);
  const std::string text = absl::StrJoin(View(&before, now, {}), "\n");
  EXPECT_THAT(text, HasSubstr("longtake 1.2.3 (commit 0123456789ab)  model a model  1 videos"));
  EXPECT_THAT(text, HasSubstr("transformer  busy  75.0 % [###############.....]      5.0 passes/s"));
  EXPECT_THAT(text, HasSubstr("decoder      busy   0.0 %"));
  EXPECT_THAT(text, HasSubstr("2.50 passes each"));
  EXPECT_THAT(text, HasSubstr("queue        5 live, 0 offline"));
  EXPECT_THAT(text, HasSubstr("chunks       1.00 GiB of at most 10.00 GiB in /videos"));
  EXPECT_THAT(text, AllOf(HasSubstr("acme"), HasSubstr("watches"), HasSubstr("3/12"), HasSubstr("4.2 s"),
                          HasSubstr("1:02:05")));
  EXPECT_THAT(absl::StrJoin(View(nullptr, now, {}), "\n"), AllOf(HasSubstr("busy      -"), Not(HasSubstr("each"))));
}

TEST(TopView, FitsTheWindow) {
  const Sample now = SampleAt(10, Text(1, 1, 1), 30);
  const size_t whole = View(nullptr, now, {}).size();
  for (const int rows : {1, 5, 14, 20, static_cast<int>(whole) - 1, static_cast<int>(whole), 100}) {
    const std::vector<std::string> lines = View(nullptr, now, {.columns = 40, .rows = rows});
    EXPECT_THAT(lines, SizeIs(std::min<size_t>(whole, rows)));
    for (const std::string& line : lines) {
      EXPECT_LE(line.size(), 40u);
      // Nothing of a tenant's name moves the cursor.
      EXPECT_TRUE(std::all_of(line.begin(), line.end(), [](char c) { return absl::ascii_isprint(c); })) << line;
    }
  }
  EXPECT_THAT(View(nullptr, now, {.rows = 20}).back(), HasSubstr("more"));
  EXPECT_THAT(View(nullptr, now, {.rows = 100}).back(), Not(HasSubstr("more")));
}

TEST(TopView, WhatIsNotUnderstoodIsNamed) {
  EXPECT_THAT(ParseSample(absl::Now(), "longtake_x\n", "{}").status().message(), HasSubstr("/metrics"));
  EXPECT_THAT(ParseSample(absl::Now(), "longtake_x 1\n", "nothing").status().message(), HasSubstr("/status"));
  EXPECT_THAT(ParseSample(absl::Now(), "", "{}").status().message(), HasSubstr("/status"));
}

class StatusTest : public AccessFixture {
 protected:
  void TearDown() override {
    gate.Open();
    AccessFixture::TearDown();
  }
  HttpReply Ask(const std::string& caller = "") const {
    return HttpClient(server->metrics_port())
        .Ask("GET", "/status", "",
             caller.empty() ? "" : absl::StrCat("Authorization: Bearer ", TokenOf(caller), "\r\n"));
  }

  Gate gate;
};

TEST_F(StatusTest, IsOfAllVideosAndForTheOperatorAlone) {
  ServerOptions options = WithTokens({.metrics_listen = "127.0.0.1:0", .store = folder + "/store"});
  options.operator_tenant = "umbrella";
  options.quotas = Write("quotas", R"({"acme": {"concurrent_videos": 2}})");
  gate.Close();
  Start({.delay =
             [this](const Pass& pass) {
               if (pass.kind == PassKind::kDecode) gate.Pass();
               return absl::ZeroDuration();
             }},
        options);
  EXPECT_EQ(Ask().status, 401);
  EXPECT_EQ(Ask("alice").status, 403) << "of another tenant";
  EXPECT_EQ(Ask("carol").status, 200);
  EXPECT_EQ(Ask("carol").json()["videos"].size(), 0u) << "while the model loads";
  Serve();
  grpc::ClientContext context;
  Say(context, "alice");
  v1::CreateVideoRequest create;
  *create.mutable_spec() = Request(2).spec();
  create.mutable_spec()->set_prompt("an unmistakable ball");
  v1::Video video;
  ASSERT_TRUE(stub->CreateVideo(&context, create, &video).ok());
  Await([&] { return Ask("carol").json()["videos"][0]["state"] == "making"; }, "the making");
  const json status = Ask("carol").json(), shown = status["videos"][0];
  EXPECT_EQ(shown["name"], video.name());
  EXPECT_EQ(shown["tenant"], "acme");
  EXPECT_EQ(shown["blocks"], 0);
  EXPECT_EQ(shown["blocks_total"], 4);
  EXPECT_EQ(shown["viewers"], 0);
  EXPECT_TRUE(shown["lead_seconds"].is_null()) << "nobody watches";
  EXPECT_EQ(status["quotas"],
            json::array({{{"tenant", "acme"}, {"quota", "concurrent_videos"}, {"used", 1.0}, {"limit", 2.0}}}));
  EXPECT_EQ(status["store"]["directory"], folder + "/store");
  EXPECT_THAT(status.dump(), Not(HasSubstr("unmistakable")));
  const absl::StatusOr<Sample> sample = ParseSample(absl::Now(), server->MetricsText(), status.dump());
  ASSERT_TRUE(sample.ok()) << sample.status();
  EXPECT_THAT(absl::StrJoin(View(nullptr, *sample, {}), "\n"), AllOf(HasSubstr("acme"), HasSubstr("0/4")));
  gate.Open();
  Await([&] { return Ask("carol").json()["ended_videos"] == 1; }, "the end");
}

TEST_F(StatusTest, IsForAllWhereNobodyIsAsked) {
  StartAndServe({}, {.metrics_listen = "127.0.0.1:0"});
  EXPECT_EQ(Ask().status, 200);
  EXPECT_FALSE(Ask().json().contains("store"));
}

}  // namespace
}  // namespace longtake::server
