// A video that lies in the store: what is read of it when a server finds it there.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/video/error.h"
#include "server/video/video.h"

namespace longtake::server {

absl::StatusOr<std::shared_ptr<Video>> Video::Restore(VideoCreation creation, const std::optional<StoredEnd>& end,
                                                      const scheduler::Clock* clock, WorkerPool* encoders,
                                                      VideoHost* host) {
  auto video = std::make_shared<Video>(std::move(creation), clock, encoders, host);
  const StoredVideo& stored = video->description_;
  {
    const MutexLock lock(video->mutex_);
    video->create_time_ = stored.info.create_time;
    video->decision_ = absl::OkStatus();
    if (end.has_value()) {
      video->state_ = end->state;
      video->error_ = end->error;
      video->start_time_ = end->start_time;
      video->end_time_ = end->end_time;
      video->made_blocks_ = end->blocks;
      video->size_bytes_ = end->size_bytes;
    }
  }
  video->stored_end_ = end;
  if (end.has_value()) {
    video->log_.SetStored(end->blocks + 1);  // so that nothing of it is ever given up for want of memory
    return video;
  }
  video->goes_on_ = true;
  ASSIGN_OR_RETURN(std::vector<std::vector<Recorded>> blocks, video->ReadWholeBlocks());
  const int count = static_cast<int>(blocks.size());
  video->Load(std::move(blocks));
  // One that is damaged, or of a block that is not stored, costs nothing but the time to make its blocks again.
  absl::StatusOr<StoredCheckpoint> checkpoint = ReadStoredCheckpoint(*video->store_, video->name_);
  if (checkpoint.ok() && checkpoint->blocks <= count) {
    video->checkpoint_ = *std::move(checkpoint);
    // It has its prompt with it, which is not encoded again.
    video->records_.SetPrompt(video->plan_->PromptAt(video->checkpoint_.blocks - 1));
  }
  const MutexLock lock(video->mutex_);
  video->made_blocks_ = count;
  video->alone_since_ = clock->Now();
  return video;
}

absl::StatusOr<std::vector<std::vector<Recorded>>> Video::ReadBlocks() const {
  std::vector<std::vector<Recorded>> blocks;
  for (int block = 0; block < plan_->blocks(); ++block) {
    absl::StatusOr<std::vector<Recorded>> events = ReadStoredBlock(*store_, name_, block, /*with_media=*/false);
    if (absl::IsNotFound(events.status())) return blocks;
    if (!events.ok()) return StoreError(events.status());
    blocks.push_back(*std::move(events));
  }
  return blocks;
}

absl::StatusOr<std::vector<std::vector<Recorded>>> Video::ReadWholeBlocks() {
  std::vector<std::vector<Recorded>> blocks;
  for (int block = 0; block < plan_->blocks(); ++block) {
    absl::StatusOr<std::vector<Recorded>> events = ReadStoredBlock(*store_, name_, block, /*with_media=*/true);
    // Of a segment that is missing its block's events are there.
    if (absl::IsNotFound(events.status())) return blocks;
    if (absl::IsDataLoss(events.status())) {
      damage_ = events.status();
      return blocks;
    }
    if (!events.ok()) return StoreError(events.status());
    const bool complete = std::any_of(events->begin(), events->end(), [](const Recorded& each) {
      const auto* chunk = std::get_if<Chunk>(&each.event.body);
      return chunk != nullptr && chunk->last_in_block();
    });
    if (!complete) return blocks;
    for (Recorded& each : *events) each.media.clear();  // it has been compared with its checksum
    blocks.push_back(*std::move(events));
  }
  return blocks;
}

void Video::Load(std::vector<std::vector<Recorded>> blocks) {
  Log({description_.elapsed,
       Accepted{
           .video = description_.info, .quote = description_.quote, .media_type = description_.stream.media_type}});
  Log({description_.elapsed, InitSegment{}}, description_.stream.init_segment);
  for (std::vector<Recorded>& events : blocks) {
    for (Recorded& each : events) {
      AddMade(each.event, each.media_bytes);
      host_->OnGrown(log_.AppendStored(std::move(each.event)));
    }
  }
  log_.SetStored(static_cast<int>(blocks.size()));
  const MutexLock lock(mutex_);
  // For the scheduler all that is stored is delivered.
  made_ = delivered_ = maker_.frames();
  size_bytes_ = maker_.bytes();
}

void Video::AddMade(const Event& event, int64_t media_bytes) {
  if (const auto* chunk = std::get_if<Chunk>(&event.body); chunk != nullptr) {
    if (chunk->index == 0) made_forms_.push_back({chunk->denoise_steps, chunk->decoder});
    maker_.PassOver(*chunk, media_bytes);
  } else if (const auto* changed = std::get_if<PromptChanged>(&event.body); changed != nullptr) {
    told_prompts_.insert(changed->prompt);
  }
}

absl::Status Video::LoadEnded() {
  const MutexLock lock(load_mutex_);
  if (loaded_) return absl::OkStatus();
  ASSIGN_OR_RETURN(std::vector<std::vector<Recorded>> blocks, ReadBlocks());
  // One more where the last was cut off.
  if (const int count = static_cast<int>(blocks.size()); count < stored_end_->blocks) {
    return StoreError(absl::DataLossError(
        absl::StrCat("store: ", name_, ": block ", count, " of ", stored_end_->blocks, " is missing")));
  }
  Load(std::move(blocks));
  if (stored_end_->finished.has_value()) Log(*stored_end_->finished);
  log_.Close(stored_end_->error);
  loaded_ = true;
  return absl::OkStatus();
}

}  // namespace longtake::server
