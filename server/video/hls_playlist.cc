#include "server/video/hls_playlist.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"

namespace longtake::server {
namespace {

// Six digits: sums are exact to the microsecond.
std::string Seconds(absl::Duration duration) { return absl::StrFormat("%.6f", absl::ToDoubleSeconds(duration)); }

absl::Duration BlockDuration(const VideoPlan& plan, int block) {
  return plan.BlockStart(block + 1) - plan.BlockStart(block);
}

absl::Duration LongestBlock(const VideoPlan& plan) {
  absl::Duration longest;
  for (int block = 0; block < plan.blocks(); ++block) longest = std::max(longest, BlockDuration(plan, block));
  return longest;
}

void ListChunks(const HlsState& state, int block, int count, std::string& text) {
  for (int chunk = 0; chunk < count; ++chunk) {
    absl::StrAppend(&text, "#EXT-X-PART:DURATION=", Seconds(state.parts->duration()), ",URI=\"",
                    ChunkFile({block, chunk}), state.query, "\"", chunk == 0 ? ",INDEPENDENT=YES\n" : "\n");
  }
}

// Digits alone: SimpleAtoi also takes signs and spaces.
std::optional<int> NumberFrom(absl::string_view text) {
  int number = 0;
  const bool digits = std::all_of(text.begin(), text.end(), [](char c) { return absl::ascii_isdigit(c); });
  return digits && absl::SimpleAtoi(text, &number) ? std::optional<int>(number) : std::nullopt;
}

}  // namespace

std::string BlockFile(int block) { return absl::StrFormat("block-%05d.m4s", block); }

std::string ChunkFile(const ChunkNumber& chunk) {
  return absl::StrFormat("block-%05d.%d.m4s", chunk.block, chunk.index);
}

std::optional<HlsFile> ParseHlsFile(const std::string& name) {
  absl::string_view rest = name;
  if (!absl::ConsumePrefix(&rest, "block-") || !absl::ConsumeSuffix(&rest, ".m4s")) return std::nullopt;
  const size_t dot = rest.find('.');
  const std::optional<int> block = NumberFrom(rest.substr(0, dot));
  if (!block.has_value()) return std::nullopt;
  if (dot == absl::string_view::npos) return HlsFile{.block = *block, .chunk = {}};
  const std::optional<int> chunk = NumberFrom(rest.substr(dot + 1));
  if (!chunk.has_value()) return std::nullopt;
  return HlsFile{.block = *block, .chunk = chunk};
}

absl::Duration HlsTargetDuration(const VideoPlan& plan) { return absl::Ceil(LongestBlock(plan), absl::Seconds(1)); }

std::optional<HlsParts> HlsParts::Of(const VideoPlan& plan) {
  if (plan.options.delivery != scheduler::Delivery::kLive || plan.blocks() < 2) return std::nullopt;
  HlsParts parts(plan);
  parts.frames_ = plan.block_frames.back() / plan.block_latents.back();
  if (parts.count(plan.blocks() - 1) == 0) return std::nullopt;
  parts.duration_ = plan.rate.TimeOf(parts.frames_);
  // The specification recommends three Partial Segments at least.
  parts.hold_back_ = std::max(3 * parts.duration_, LongestBlock(plan) + parts.duration_);
  return parts;
}

int HlsParts::count(int block) const {
  if (block >= plan_->blocks()) return 0;
  const int chunks = plan_->block_latents[block];
  return plan_->block_frames[block] == int64_t{frames_} * chunks ? chunks : 0;
}

std::optional<ChunkNumber> HlsParts::Next(const LogReach& reach) const {
  if (reach.chunks >= count(reach.blocks)) return std::nullopt;
  return ChunkNumber{.block = reach.blocks, .index = reach.chunks};
}

std::string HlsPlaylist(const VideoPlan& plan, const HlsState& state) {
  const absl::Duration target = HlsTargetDuration(plan);
  const int blocks = state.reach.blocks;
  // Chunks of a block that will not become whole are of no use.
  const bool grows = state.parts.has_value() && !state.ended && blocks < plan.blocks();
  const int chunks = grows ? std::min(state.reach.chunks, state.parts->count(blocks)) : 0;
  std::string text =
      absl::StrCat("#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:", absl::ToInt64Seconds(target), "\n");
  if (state.parts.has_value()) {
    absl::StrAppend(&text,
                    "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=", Seconds(state.parts->hold_back()),
                    "\n#EXT-X-PART-INF:PART-TARGET=", Seconds(state.parts->duration()), "\n");
  }
  // RFC 8216 takes an absent EXT-X-MEDIA-SEQUENCE for 0. Chromium takes a playlist without it for one that never grows.
  absl::StrAppend(&text,
                  "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-INDEPENDENT-SEGMENTS\n"
                  "#EXT-X-START:TIME-OFFSET=0,PRECISE=YES\n#EXT-X-MAP:URI=\"init.mp4",
                  state.query, "\"\n");
  // Chunks further from the end than three target durations are to be left out. A player counts the chunks of a block
  // by their lines, so those of a block go together.
  const absl::Duration end =
      plan.BlockStart(blocks) + (grows ? chunks * state.parts->duration() : absl::ZeroDuration());
  for (int block = 0; block < blocks; ++block) {
    const bool new_enough = end - plan.BlockStart(block + 1) < 3 * target;
    if (state.parts.has_value() && new_enough) ListChunks(state, block, state.parts->count(block), text);
    absl::StrAppend(&text, "#EXTINF:", Seconds(BlockDuration(plan, block)), ",\n", BlockFile(block), state.query, "\n");
  }
  if (state.ended) return absl::StrCat(text, "#EXT-X-ENDLIST\n");
  if (!grows) return text;
  ListChunks(state, blocks, chunks, text);
  if (const std::optional<ChunkNumber> next = state.parts->Next(state.reach); next.has_value()) {
    absl::StrAppend(&text, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"", ChunkFile(*next), state.query, "\"\n");
  }
  return text;
}

}  // namespace longtake::server
