// What /metrics says, against docs/metrics.md.
#include <fstream>
#include <map>
#include <set>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/server_fixture.h"

namespace longtake::server {
namespace {

class MetricsTest : public ServerFixture {
 protected:
  // Value by name with labels; -1: not there.
  double Value(const std::string& name) {
    for (const std::string& line : std::vector<std::string>(absl::StrSplit(server->MetricsText(), '\n'))) {
      if (absl::StartsWith(line, name + " ")) return std::stod(line.substr(name.size() + 1));
    }
    return -1;
  }
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
    if (cells.size() < 5 || !absl::StartsWith(cells[1], " `")) continue;
    types[cells[1].substr(2, cells[1].size() - 4)] = std::string(absl::StripAsciiWhitespace(cells[2]));
  }
  return types;
}

TEST_F(MetricsTest, AreThoseOfTheTable) {
  StartAndServe({.denoise = absl::Milliseconds(10),
                 .commit = absl::Milliseconds(5),
                 .decode = absl::Milliseconds(5),
                 .moves = {.count = 3, .bytes = 1000, .seconds = 0.5}});
  v1::GenerateVideoRequest request = Request(2);
  ASSERT_TRUE(Generate(request).status.ok());  // teaches what passes take
  ASSERT_TRUE(Generate(request).status.ok());  // has a quote
  request.mutable_spec()->clear_duration();
  Generate(request);
  // One that is long enough for slack to be sampled.
  ASSERT_TRUE(Generate(Request(10)).status.ok());
  Await([&] { return Value("longtake_videos_ended_total{outcome=\"ok\"}") == 3; }, "the end");
  const std::map<std::string, std::string> documented = Documented();
  EXPECT_GT(documented.size(), 20u);
  EXPECT_EQ(Scraped(server->MetricsText()), documented);

  // 33 + 33 + 161 frames at 16 a second.
  EXPECT_DOUBLE_EQ(Value("longtake_video_seconds_total"), 227.0 / 16);
  EXPECT_EQ(Value("longtake_live_videos_ended_total{stalled=\"false\"}"), 3);
  EXPECT_EQ(Value("longtake_stalls_total"), 0);
  EXPECT_EQ(Value("longtake_quotes_total{kept=\"true\"}") + Value("longtake_quotes_total{kept=\"false\"}"), 2);
  EXPECT_EQ(Value("longtake_quote_over_actual_ratio_count"), 2);
  // Blocks of 3, 2, 2, 2 latent frames (twice), and of 3 and nineteen times 2, by 3 steps and a commit: 4 passes of 12
  // tokens a latent frame each, no two of them together.
  EXPECT_EQ(Value("longtake_batch_tokens_sum"), 4 * 12 * (9 + 9 + 41));
  EXPECT_EQ(Value("longtake_batch_tokens_count"), 4 * (4 + 4 + 20));
  // A block of 2 latent frames, half a second, takes 3 x 10 + 5 + 2 x 5 = 45 ms: 11 times real time.
  const double factor = Value("longtake_real_time_factor_sum") / Value("longtake_real_time_factor_count");
  EXPECT_NEAR(factor, 11, 1.5);
  EXPECT_NEAR(Value("longtake_tenant_device_seconds_total{tenant=\"(none)\"}"), 28 * 0.035 + 59 * 0.005, 1e-6);
  EXPECT_EQ(Value("longtake_memory_free_slots{region=\"state\"}"), 4);
  EXPECT_EQ(Value("longtake_session_moves_total"), 3);
  EXPECT_EQ(Value("longtake_session_move_seconds_total"), 0.5);
  EXPECT_GE(Value("longtake_live_slack_seconds_count"), 1);
  EXPECT_EQ(Value("longtake_backlog_seconds"), 0);
}

TEST_F(MetricsTest, ALateChunkIsAStall) {
  // Half a second of video takes 0.9 s: every chunk but the first is late.
  StartAndServe({.denoise = absl::Milliseconds(300)});
  std::thread viewer([&] { EXPECT_TRUE(Generate(Request(1.5)).status.ok()); });
  Await([&] { return Value("longtake_live_videos{stalled=\"false\"}") == 1; }, "the viewer");
  EXPECT_GT(Value("longtake_backlog_seconds"), 0);
  Await([&] { return Value("longtake_live_videos{stalled=\"true\"}") == 1; }, "the stall");
  viewer.join();
  Await([&] { return Value("longtake_live_videos_ended_total{stalled=\"true\"}") == 1; }, "the end");
  EXPECT_EQ(Value("longtake_stalls_total"), 2);
}

}  // namespace
}  // namespace longtake::server
