// HLS playlists, as a player reads them.
#include "server/video/hls_playlist.h"

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/http/hls_reload.h"
#include "server/video/error.h"
#include "tests/server/fake_engine.h"

namespace longtake::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// What a player makes of a playlist.
struct Parsed {
  struct Segment {
    std::string address;
    double seconds = 0;
    std::vector<std::string> parts;  // addresses
  };
  std::map<std::string, std::string> tags;  // of the whole playlist: the name, and what stands behind the colon
  std::vector<Segment> segments;
  std::vector<std::string> next_parts;  // of the segment that is not there yet
  std::vector<double> part_seconds;
  std::vector<std::string> independent;  // parts that begin with a key frame
  std::string hint;
};

std::map<std::string, std::string> Attributes(const std::string& text) {
  std::map<std::string, std::string> attributes;
  for (const std::string& each : std::vector<std::string>(absl::StrSplit(text, ','))) {
    const std::pair<std::string, std::string> pair = absl::StrSplit(each, absl::MaxSplits('=', 1));
    attributes[pair.first] = absl::StrReplaceAll(pair.second, {{"\"", ""}});
  }
  return attributes;
}

double Number(const std::string& text) {
  double number = -1;
  EXPECT_TRUE(absl::SimpleAtod(text, &number)) << text;
  return number;
}

Parsed Parse(const std::string& text) {
  Parsed out;
  double seconds = -1;
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(text, '\n', absl::SkipEmpty()))) {
    const std::pair<std::string, std::string> tag = absl::StrSplit(line, absl::MaxSplits(':', 1));
    if (line[0] != '#') {
      EXPECT_GE(seconds, 0) << "a segment without a duration";
      out.segments.push_back({line, std::exchange(seconds, -1), std::exchange(out.next_parts, {})});
    } else if (tag.first == "#EXTINF") {
      EXPECT_TRUE(absl::EndsWith(tag.second, ","));
      seconds = Number(tag.second.substr(0, tag.second.size() - 1));
    } else if (tag.first == "#EXT-X-PART") {
      std::map<std::string, std::string> part = Attributes(tag.second);
      out.next_parts.push_back(part["URI"]);
      out.part_seconds.push_back(Number(part["DURATION"]));
      if (part["INDEPENDENT"] == "YES") out.independent.push_back(part["URI"]);
    } else if (tag.first == "#EXT-X-PRELOAD-HINT") {
      out.hint = Attributes(tag.second)["URI"];
    } else {
      EXPECT_TRUE(out.tags.emplace(tag).second) << "twice: " << line;
    }
  }
  return out;
}

class HlsPlaylistTest : public testing::Test {
 protected:
  // Blocks of 9, 8, 8, ... frames, 16 a second, chunks of 1, 4, 4 and of 4, 4 frames.
  VideoPlan Plan(double seconds, scheduler::Delivery delivery = scheduler::Delivery::kLive) {
    return *CheckRequest({.prompt = "a red ball", .duration = absl::Seconds(seconds)}, {.delivery = delivery}, {},
                         Purpose::kMake, engine, {}, 7);
  }
  static Parsed Playlist(const VideoPlan& plan, LogReach reach, bool ended = false, const std::string& query = {}) {
    return Parse(HlsPlaylist(plan, {.reach = reach, .ended = ended, .query = query, .parts = HlsParts::Of(plan)}));
  }

  FakeEngine engine{{.model = FakeModel()}};
};

TEST_F(HlsPlaylistTest, ListsWholeBlocks) {
  const VideoPlan plan = Plan(2);
  const Parsed list = Parse(HlsPlaylist(plan, {.reach = {.blocks = 2, .chunks = 1}}));
  ASSERT_EQ(list.segments.size(), 2u);
  EXPECT_EQ(list.segments[0].address, "block-00000.m4s");
  EXPECT_EQ(list.segments[0].seconds, 9.0 / 16);
  EXPECT_EQ(list.segments[1].address, "block-00001.m4s");
  EXPECT_EQ(list.tags.at("#EXT-X-TARGETDURATION"), "1");
  EXPECT_EQ(list.tags.at("#EXT-X-MEDIA-SEQUENCE"), "0") << "without it Chromium reads the playlist once";
  EXPECT_EQ(list.tags.at("#EXT-X-MAP"), "URI=\"init.mp4\"");
  EXPECT_FALSE(list.tags.contains("#EXT-X-ENDLIST"));
  EXPECT_FALSE(list.tags.contains("#EXT-X-SERVER-CONTROL"));
  EXPECT_THAT(list.part_seconds, IsEmpty());
  EXPECT_TRUE(Parse(HlsPlaylist(plan, {.reach = {.blocks = 4}, .ended = true})).tags.contains("#EXT-X-ENDLIST"));
}

TEST_F(HlsPlaylistTest, ListsTheChunksOfNewBlocks) {
  const Parsed list = Playlist(Plan(2), {.blocks = 2, .chunks = 1});
  ASSERT_EQ(list.segments.size(), 2u);
  EXPECT_THAT(list.segments[0].parts, IsEmpty()) << "its chunks are of different lengths";
  EXPECT_THAT(list.segments[1].parts, ElementsAre("block-00001.0.m4s", "block-00001.1.m4s"));
  EXPECT_THAT(list.next_parts, ElementsAre("block-00002.0.m4s"));
  EXPECT_EQ(list.hint, "block-00002.1.m4s");
  EXPECT_THAT(list.independent, ElementsAre("block-00001.0.m4s", "block-00002.0.m4s"));
  EXPECT_THAT(list.part_seconds, testing::Each(0.25));
  EXPECT_EQ(Number(Attributes(list.tags.at("#EXT-X-PART-INF"))["PART-TARGET"]), 0.25);
  std::map<std::string, std::string> control = Attributes(list.tags.at("#EXT-X-SERVER-CONTROL"));
  EXPECT_EQ(control["CAN-BLOCK-RELOAD"], "YES");
  EXPECT_NEAR(Number(control["PART-HOLD-BACK"]), 9.0 / 16 + 0.25, 1e-6) << "the longest block and a chunk";
}

TEST_F(HlsPlaylistTest, HintsAtTheNextChunk) {
  const VideoPlan plan = Plan(2);
  EXPECT_EQ(Playlist(plan, {}).hint, "") << "the first block is listed as a whole";
  EXPECT_EQ(Playlist(plan, {.blocks = 0, .chunks = 2}).hint, "");
  EXPECT_THAT(Playlist(plan, {.blocks = 0, .chunks = 2}).next_parts, IsEmpty());
  EXPECT_EQ(Playlist(plan, {.blocks = 1}).hint, "block-00001.0.m4s");
  EXPECT_EQ(Playlist(plan, {.blocks = 4}).hint, "") << "nothing comes";
  const Parsed ended = Playlist(plan, {.blocks = 2, .chunks = 1}, /*ended=*/true);
  EXPECT_EQ(ended.hint, "");
  EXPECT_THAT(ended.next_parts, IsEmpty()) << "of a block that will not be whole";
  EXPECT_EQ(ended.segments[1].parts.size(), 2u) << "who plays them goes on with them";
}

TEST_F(HlsPlaylistTest, LeavesOutChunksThatAreThreeTargetDurationsFromTheEnd) {
  // Blocks of half a second, and a target duration of one: the chunks of the last six blocks, and none before.
  const Parsed list = Playlist(Plan(8), {.blocks = 10});
  ASSERT_EQ(list.segments.size(), 10u);
  for (int block = 0; block < 10; ++block) {
    EXPECT_EQ(list.segments[block].parts.size(), block < 4 ? 0u : 2u) << block;
  }
  // A chunk more moves the end by a quarter of a second.
  EXPECT_EQ(Playlist(Plan(8), {.blocks = 10, .chunks = 1}).segments[4].parts.size(), 2u) << "a part of it is near";
  EXPECT_EQ(Playlist(Plan(8), {.blocks = 11}).segments[4].parts.size(), 0u);
}

TEST_F(HlsPlaylistTest, EachAddressHasTheQuery) {
  const VideoPlan plan = Plan(2);
  const std::string text =
      HlsPlaylist(plan, {.reach = {.blocks = 2, .chunks = 1}, .query = "?link=x", .parts = HlsParts::Of(plan)});
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(text, '\n', absl::SkipEmpty()))) {
    if (!absl::StrContains(line, ".m")) continue;
    EXPECT_THAT(line, HasSubstr("?link=x"));
  }
  EXPECT_EQ(Parse(text).hint, "block-00002.1.m4s?link=x");
}

TEST_F(HlsPlaylistTest, NoChunksAreListedOfWhatIsMadeAtNoPromisedPaceAndOfASingleBlock) {
  const VideoPlan offline = Plan(2, scheduler::Delivery::kOffline), single = Plan(0.5);
  ASSERT_EQ(single.blocks(), 1);
  EXPECT_FALSE(HlsParts::Of(offline).has_value());
  EXPECT_FALSE(HlsParts::Of(single).has_value());
  EXPECT_TRUE(HlsParts::Of(Plan(2)).has_value()) << "the control";
}

TEST(HlsFiles, AreKnownByTheirNames) {
  const auto parse = [](const char* name) {
    const std::optional<HlsFile> file = ParseHlsFile(name);
    return file.has_value() ? std::make_pair(file->block, file->chunk.value_or(-1)) : std::make_pair(-1, -1);
  };
  EXPECT_EQ(parse(BlockFile(7).c_str()), std::make_pair(7, -1));
  EXPECT_EQ(parse(ChunkFile({123456, 12}).c_str()), std::make_pair(123456, 12));
  EXPECT_EQ(parse("block-0.m4s"), std::make_pair(0, -1));
  for (const char* name :
       {"", "block-.m4s", "block-1.", "block-1.m4", "block-1..m4s", "block-1.2.3.m4s", "block--1.m4s", "block-+1.m4s",
        "block- 1.m4s", "block-1.-1.m4s", "block-99999999999.m4s", "lock-1.m4s"}) {
    EXPECT_EQ(parse(name), std::make_pair(-1, -1)) << name;
  }
}

class HlsReloadTest : public HlsPlaylistTest {
 protected:
  HlsReloadTest() : plan(Plan(4)), parts(*HlsParts::Of(plan)) {}
  static absl::StatusOr<std::optional<HlsReload>> From(const std::map<std::string, std::string>& query) {
    return ReloadFrom(query);
  }

  const VideoPlan plan;  // of 8 blocks
  const HlsParts parts;
};

TEST_F(HlsReloadTest, IsReadFromTheQuery) {
  EXPECT_FALSE((*From({{"link", "x"}})).has_value());
  const absl::StatusOr<std::optional<HlsReload>> both = From({{"_HLS_msn", "7"}, {"_HLS_part", "2"}});
  ASSERT_TRUE(both.ok() && both->has_value());
  EXPECT_EQ((**both).block, 7);
  EXPECT_EQ((**both).chunk, 2);
  EXPECT_FALSE((**From({{"_HLS_msn", "7"}})).chunk.has_value());
  const auto field = [&](const std::map<std::string, std::string>& query) {
    const ErrorDetails details = DetailsOf(From(query).status());
    return details.fields.empty() ? "" : details.fields.front().field;
  };
  EXPECT_EQ(field({{"_HLS_part", "0"}}), "_HLS_part") << "of no segment";
  for (const char* number : {"", "x", "-1", "1.5", "99999999999999999999"}) {
    EXPECT_EQ(field({{"_HLS_msn", number}}), "_HLS_msn") << number;
    EXPECT_EQ(field({{"_HLS_msn", "1"}, {"_HLS_part", number}}), "_HLS_part") << number;
  }
}

TEST_F(HlsReloadTest, WaitsForTheBlockOrTheChunk) {
  const auto reached = [&](HlsReload reload, LogReach reach) { return IsReached(reload, parts, reach); };
  EXPECT_TRUE(reached({.block = 1}, {.blocks = 2}));
  EXPECT_FALSE(reached({.block = 2}, {.blocks = 2, .chunks = 1})) << "it is not whole";
  EXPECT_TRUE(reached({.block = 2, .chunk = 0}, {.blocks = 2, .chunks = 1}));
  EXPECT_FALSE(reached({.block = 2, .chunk = 1}, {.blocks = 2, .chunks = 1}));
  EXPECT_TRUE(reached({.block = 2, .chunk = 1}, {.blocks = 3}));
  // A chunk behind the last one of its block is the first one of the next.
  EXPECT_FALSE(reached({.block = 2, .chunk = 2}, {.blocks = 3}));
  EXPECT_TRUE(reached({.block = 2, .chunk = 2}, {.blocks = 3, .chunks = 1}));
  EXPECT_TRUE(reached({.block = 2, .chunk = 2}, {.blocks = 4}));
  // The first block has no listed chunks.
  EXPECT_FALSE(reached({.block = 0, .chunk = 0}, {.blocks = 0, .chunks = 2}));
  EXPECT_FALSE(reached({.block = 0, .chunk = 0}, {.blocks = 1}));
  EXPECT_TRUE(reached({.block = 0, .chunk = 0}, {.blocks = 1, .chunks = 1}));
  // Behind the last block there is nothing but the end.
  EXPECT_FALSE(reached({.block = 8}, {.blocks = 8}));
  EXPECT_FALSE(reached({.block = 8, .chunk = 0}, {.blocks = 8}));
}

TEST_F(HlsReloadTest, TooFarAheadIsRefused) {
  const auto refused = [&](HlsReload reload, LogReach reach) {
    const ErrorDetails details = DetailsOf(CheckReload(reload, parts, reach));
    return details.fields.empty() ? std::string() : details.fields.front().field;
  };
  const LogReach reach{.blocks = 3, .chunks = 1};
  EXPECT_EQ(refused({.block = 0}, reach), "");
  EXPECT_EQ(refused({.block = 4}, reach), "") << "two behind the last segment";
  EXPECT_EQ(refused({.block = 5}, reach), "_HLS_msn");
  EXPECT_EQ(refused({.block = 2'000'000'000, .chunk = 2'000'000'000}, reach), "_HLS_msn");
  // Three seconds are 12 chunks.
  EXPECT_EQ(refused({.block = 3, .chunk = 12}, reach), "");
  EXPECT_EQ(refused({.block = 3, .chunk = 13}, reach), "_HLS_part");
  EXPECT_EQ(refused({.block = 4, .chunk = 11}, reach), "");
  EXPECT_EQ(refused({.block = 4, .chunk = 12}, reach), "_HLS_part");
  EXPECT_EQ(refused({.block = 2, .chunk = 2'000'000'000}, reach), "") << "is the next block's first";
  EXPECT_EQ(refused({.block = 9, .chunk = 0}, {.blocks = 8}), "") << "behind the video's end";
  EXPECT_EQ(refused({.block = 1}, {}), "");
  EXPECT_EQ(refused({.block = 2}, {}), "_HLS_msn");
}

}  // namespace
}  // namespace longtake::server
