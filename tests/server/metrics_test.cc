// What /metrics says, against docs/metrics.md.
#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/gate.h"
#include "tests/server/server_fixture.h"

namespace longtake::server {
namespace {

class MetricsTest : public ServerFixture {
 protected:
  double Left(const std::string& outcome) {
    return Value("longtake_live_viewers_left_total{outcome=\"" + outcome + "\"}");
  }
  // Value by name with labels; -1: not there.
  double Value(const std::string& name) {
    for (const std::string& line : std::vector<std::string>(absl::StrSplit(server->MetricsText(), '\n'))) {
      if (absl::StartsWith(line, name + " ")) return std::stod(line.substr(name.size() + 1));
    }
    return -1;
  }
  // Closes the gate, and returns an engine's delay that waits at it before a video's second block is denoised. The
  // first `pass_over` videos go through.
  auto HoldSecondBlock(int pass_over) {
    gate.Close();
    return [this, pass_over, videos = 0, committed = false](const Pass& pass) mutable {
      if (pass.kind == PassKind::kEncodePrompt) {
        ++videos;
        committed = false;
      }
      committed = committed || pass.kind == PassKind::kCommit;
      if (videos > pass_over && committed && pass.kind == PassKind::kDenoise) gate.Pass();
      return absl::ZeroDuration();
    };
  }
  void TearDown() override {
    gate.Open();
    ServerFixture::TearDown();
  }

  Gate gate;
};

// Name to type, from a Prometheus text and from the documentation's table.
std::map<std::string, std::string> Scraped(const std::string& text) {
  std::map<std::string, std::string> types;
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(text, '\n'))) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    if (words.size() == 4 && words[1] == "TYPE") types[words[2]] = words[3];
  }
  return types;
}

std::map<std::string, std::string> Documented() {
  std::map<std::string, std::string> types;
  std::ifstream file("docs/metrics.md");
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> cells = absl::StrSplit(line, '|');
    if (cells.size() < 5 || !absl::StartsWith(cells[1], " `longtake_")) continue;
    types[cells[1].substr(2, cells[1].size() - 4)] = std::string(absl::StripAsciiWhitespace(cells[2]));
  }
  return types;
}

TEST_F(MetricsTest, AreThoseOfTheTable) {
  StartAndServe({.denoise = absl::Milliseconds(10),
                 .commit = absl::Milliseconds(5),
                 .decode = absl::Milliseconds(5),
                 .delay = HoldSecondBlock(/*pass_over=*/2),
                 .moves = {.count = 3, .bytes = 1000, .seconds = 0.5}});
  v1::GenerateVideoRequest request = Request(2);
  ASSERT_TRUE(Generate(request).status.ok());  // teaches what passes take
  ASSERT_TRUE(Generate(request).status.ok());  // has a quote
  request.mutable_spec()->clear_duration();
  Generate(request);
  // One that waits until its slack has been sampled.
  const auto await_slack = [&](const v1::WatchVideoResponse& event, grpc::ClientContext& /*context*/) {
    if (!event.has_chunk() || event.chunk().block() > 0) return;
    Await([&] { return Value("longtake_live_slack_seconds_count") >= 1; }, "the slack");
    gate.Open();
  };
  ASSERT_TRUE(Generate(Request(10), await_slack).status.ok());
  Await([&] { return Value("longtake_videos_ended_total{outcome=\"ok\"}") == 3; }, "the end");
  // What went out, and how a viewer left, is counted once the client has got all.
  Await([&] { return Left("smooth") + Left("late") + Left("stalled") >= 3; }, "the viewers' end");
  const std::map<std::string, std::string> documented = Documented();
  EXPECT_GT(documented.size(), 20u);
  EXPECT_EQ(Scraped(server->MetricsText()), documented);

  // 33 + 33 + 161 frames at 16 a second.
  EXPECT_DOUBLE_EQ(Value("longtake_video_seconds_total"), 227.0 / 16);
  EXPECT_EQ(Left("smooth") + Left("late") + Left("stalled"), 3) << "each of them once";
  EXPECT_EQ(Value("longtake_quotes_total{kept=\"true\"}") + Value("longtake_quotes_total{kept=\"false\"}"), 2);
  EXPECT_EQ(Value("longtake_quote_over_actual_ratio_count"), 2);
  // Blocks of 3, 2, 2, 2 latent frames (twice), and of 3 and nineteen times 2, by 3 steps and a commit: 4 passes of 12
  // tokens a latent frame each, no two of them together.
  EXPECT_EQ(Value("longtake_batch_tokens_sum"), 4 * 12 * (9 + 9 + 41));
  EXPECT_EQ(Value("longtake_batch_tokens_count"), 4 * (4 + 4 + 20));
  // A block of 2 latent frames, half a second, takes 3 x 10 + 5 + 2 x 5 = 45 ms: 11 times real time.
  const double factor = Value("longtake_real_time_ratio_sum") / Value("longtake_real_time_ratio_count");
  EXPECT_NEAR(factor, 11, 1.5);
  EXPECT_NEAR(Value("longtake_tenant_device_seconds_total{tenant=\"(none)\"}"), 28 * 0.035 + 59 * 0.005, 1e-6);
  EXPECT_EQ(Value("longtake_memory_free_slots{region=\"state\"}"), 4);
  EXPECT_EQ(Value("longtake_session_moves_total"), 3);
  EXPECT_EQ(Value("longtake_session_move_seconds_total"), 0.5);
  EXPECT_GE(Value("longtake_live_slack_seconds_count"), 1);
  EXPECT_EQ(Value("longtake_backlog_seconds{delivery=\"live\"}"), 0);
}

// Series by name and labels, without values.
std::set<std::string> Series(const std::string& text) {
  std::set<std::string> series;
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(text, '\n'))) {
    if (!line.empty() && line[0] != '#') series.insert(line.substr(0, line.rfind(' ')));
  }
  return series;
}

TEST_F(MetricsTest, AllSeriesAreThereFromTheFirstScrape) {
  Start();
  const std::set<std::string> loading = Series(server->MetricsText());
  Serve();
  const std::set<std::string> before = Series(server->MetricsText());
  // Each way to end that comes without a fault: a request refused, a video made, one that its viewer left.
  ASSERT_TRUE(Generate(Request(1)).status.ok());
  v1::GenerateVideoRequest offline = Request(1);
  offline.mutable_delivery_options()->set_delivery(v1::DELIVERY_OFFLINE);
  ASSERT_TRUE(Generate(offline).status.ok());
  EXPECT_FALSE(Generate(Request(1e6)).status.ok());
  Generate(Request(10), [](const auto& event, grpc::ClientContext& context) {
    if (event.has_chunk()) context.TryCancel();
  });
  Await([&] { return Value("longtake_sessions{state=\"active\"}") == 0; }, "the end");
  EXPECT_EQ(Series(server->MetricsText()), before);
  // Before the model is there its own series are missing, and no others.
  std::set<std::string> of_model;
  std::set_difference(before.begin(), before.end(), loading.begin(), loading.end(),
                      std::inserter(of_model, of_model.end()));
  for (const std::string& series : of_model) {
    EXPECT_THAT(series, testing::AnyOf(testing::HasSubstr("{region="), testing::HasSubstr("longtake_model_info{")));
  }
  EXPECT_EQ(before.count("longtake_model_info{model=\"fake\",numerics_id=\"fake-1\"}"), 1u);
}

// Videos of one block, and the last chunks of others, are seen by somebody.
TEST_F(MetricsTest, ShortVideosCount) {
  StartAndServe();
  for (const double seconds : {0.1, 0.5, 1.0}) ASSERT_TRUE(Generate(Request(seconds)).status.ok());
  Await([&] { return Left("smooth") + Left("late") + Left("stalled") == 3; }, "three viewers");
}

TEST_F(MetricsTest, ALateChunkIsAStall) {
  // The second block is made once the picture stands still for it.
  StartAndServe({.delay = HoldSecondBlock(/*pass_over=*/0)});
  std::thread viewer([&] { EXPECT_TRUE(Generate(Request(1.0)).status.ok()); });
  Await([&] { return Value("longtake_live_viewers{stalled=\"true\"}") == 1; }, "the stall");
  gate.Open();
  viewer.join();
  Await([&] { return Left("stalled") == 1; }, "the end");
  EXPECT_GE(Value("longtake_stalls_total"), 1);
}

}  // namespace
}  // namespace longtake::server
