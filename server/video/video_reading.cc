// What is read of a video's log by block, for forks and for HLS.
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/video/error.h"
#include "server/video/video.h"

namespace longtake::server {

absl::StatusOr<std::string> Video::Segment(int block) {
  ASSIGN_OR_RETURN(const std::vector<std::vector<Recorded>> blocks, Blocks(block, 1));
  std::string segment;
  for (const Recorded& each : blocks.front()) segment += each.media;
  return segment;
}

absl::StatusOr<std::vector<std::vector<Recorded>>> Video::Blocks(int first, int count) {
  if (stored_end_.has_value()) RETURN_IF_ERROR(LoadEnded());
  std::vector<std::vector<Recorded>> blocks(1);
  ChunkLog::Cursor cursor{.from_block = first, .follow = false, .with_progress = false};
  while (static_cast<int>(blocks.size()) <= count) {
    const ChunkLog::Step step = log_.Next(cursor);
    host_->OnGrown(step.grown);
    if (step.end.has_value() && !step.end->ok()) return *step.end;
    if (step.end.has_value()) {
      return MakeError(absl::StatusCode::kFailedPrecondition,
                       absl::StrCat("of ", name_, " ", first + blocks.size() - 1, " blocks are whole so far, and not ",
                                    first + count),
                       {.reason = Reason::kBlockNotMade, .resource = name_});
    }
    if (!step.last_message()) continue;  // a piece has several, and counts once
    const Event& event = step.piece->event;
    const auto* chunk = std::get_if<Chunk>(&event.body);
    const auto* changed = std::get_if<PromptChanged>(&event.body);
    // The cursor passes over chunks of earlier blocks, and not over their prompts.
    if (chunk == nullptr && (changed == nullptr || changed->block < first)) continue;
    blocks.back().push_back({event, step.piece->media});
    if (chunk != nullptr && chunk->last_in_block()) blocks.emplace_back();
  }
  blocks.pop_back();
  return blocks;
}

absl::StatusOr<std::string> Video::ChunkBytes(const ChunkNumber& chunk) {
  if (stored_end_.has_value()) RETURN_IF_ERROR(LoadEnded());
  ChunkLog::Cursor cursor{.from_block = chunk.block, .follow = false, .with_progress = false};
  while (true) {
    const ChunkLog::Step step = log_.Next(cursor);
    host_->OnGrown(step.grown);
    if (step.end.has_value() && !step.end->ok()) return *step.end;
    const auto* found = step.piece == nullptr ? nullptr : std::get_if<Chunk>(&step.piece->event.body);
    if (step.end.has_value() || (found != nullptr && found->block > chunk.block)) {
      return MakeError(absl::StatusCode::kFailedPrecondition,
                       absl::StrCat("block ", chunk.block, " of ", name_, " has no chunk ", chunk.index),
                       {.reason = Reason::kBlockNotMade, .resource = name_});
    }
    if (found != nullptr && found->block == chunk.block && found->index == chunk.index) return step.piece->media;
  }
}

}  // namespace longtake::server
