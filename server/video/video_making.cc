// What becomes of a video's frames: they are encoded, stored and told, in this order. On the video's strand.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/video/error.h"
#include "server/video/video.h"

namespace longtake::server {

void Video::Encode(const DecodedFrames& frames, const BlockReport& making) {
  if (ended() || frames.first_frame < maker_.frames()) return;
  absl::StatusOr<std::optional<Maker::Made>> made = maker_.Add(frames, making);
  if (!made.ok()) return Cancel(made.status());
  if (made->has_value()) AppendMade(**std::move(made));
}

void Video::FinishBlock(int block, const BlockReport& report) {
  if (ended()) return;
  if (block < maker_.block()) return PassOver(block);
  absl::StatusOr<Maker::Made> made = maker_.FinishBlock(report, accepted_);
  if (!made.ok()) return Cancel(made.status());
  AppendMade(*std::move(made));
  KeepCheckpoint();
  for (const Event& changed : std::exchange(early_prompts_, {})) ChangedPrompt(changed);
}

// A block that viewers have was made again, for those behind it.
void Video::PassOver(int block) {
  const absl::Duration until = plan_->BlockStart(block + 1);
  bool played = goes_on_;
  if (goes_on_) {
    host_->Delivered(id_, until);
  } else {
    // A fork's viewers are sent it as any other block, and the scheduler takes them to play it from now on; but not
    // those who began behind it.
    {
      const MutexLock lock(mutex_);
      made_ = std::max(made_, plan_->block_starts[block + 1]);
      played = audience_.BeginsBehind(block);
    }
    Pace();
  }
  if (live() && played) host_->Consumed(id_, until, /*paused=*/false);
}

void Video::ChangedPrompt(const Event& changed) {
  const auto& prompt = std::get<PromptChanged>(changed.body);
  if (ended() || told_prompts_.contains(prompt.prompt)) return;
  // Where lanes overlap it may be encoded before the last chunk of the block before. Its place in the log is always the
  // same, or resume tokens would mean something else when the video is made again.
  if (prompt.block > maker_.block()) {
    early_prompts_.push_back(changed);
    return;
  }
  if (store_ != nullptr) unstored_.push_back({changed, {}});
  Tell({}, [this, changed](bool /*stored*/) {
    if (!lost()) Log(changed);
  });
}

void Video::AppendMade(Maker::Made made) {
  const Event event{elapsed(), made.chunk};
  std::vector<StoredFile> files;
  if (store_ != nullptr) {
    unstored_.push_back({event, made.bytes});
    if (made.chunk.last_in_block()) files = TakeUnstored(made.chunk.block);
  }
  // shared_ptr: std::function copies what it holds.
  auto bytes = std::make_shared<std::string>(std::move(made.bytes));
  Tell(std::move(files), [this, event, bytes](bool stored) {
    if (lost()) return;
    const auto& chunk = std::get<Chunk>(event.body);
    if (stored) log_.SetStored(stored_blocks_ = chunk.block + 1);
    {
      // Before the chunk is in the log, for a viewer may take it at once.
      const MutexLock lock(mutex_);
      if (chunk.last_in_block()) made_blocks_ = chunk.block + 1;
      size_bytes_ += static_cast<int64_t>(bytes->size());
      made_ = chunk.first_frame + chunk.frames;
    }
    Log(event, std::move(*bytes));
    Pace();
    if (chunk.last_in_block()) host_->OnBlockMade(*this, *chunk.report);
  });
}

void Video::KeepCheckpoint() {
  if (unstored_checkpoint_.blocks == 0 || unstored_checkpoint_.blocks > maker_.block()) return;
  const StoredCheckpoint checkpoint = std::exchange(unstored_checkpoint_, {});
  const std::shared_ptr<void> held = std::move(held_);
  // No chunk waits for it. Without it blocks are made again, so an error is none.
  const MutexLock lock(store_mutex_);
  if (!stores_) return;
  store_->Put({CheckpointFile(name_, checkpoint.blocks, checkpoint.bytes)}, token_,
              [held](const absl::Status& /*status*/) {});
}

void Video::StoreShared(size_t block, const std::shared_ptr<const StoredVideo>& stored) {
  const int shared = static_cast<int>(shared_blocks_.size());
  const bool last = block == shared_blocks_.size();
  std::vector<StoredFile> files =
      last ? FilesOf(*stored, shared) : BlockFiles(name_, *plan_, static_cast<int>(block), shared_blocks_[block]);
  const auto done = [this, block, stored, last](const absl::Status& status) {
    if (!last && status.ok()) return StoreShared(block + 1, stored);
    storing_shared_ = false;
    // What was to be told meanwhile is stored behind it.
    for (Telling& each : telling_) {
      if (!each.files.empty()) each.waits = status.ok() && PutTold(std::exchange(each.files, {}));
    }
    OnStored(status);
  };
  if (!Put(std::move(files), done)) done(absl::CancelledError("the video was deleted"));
}

std::vector<StoredFile> Video::TakeUnstored(int block) {
  return BlockFiles(name_, *plan_, block, std::exchange(unstored_, {}));
}

void Video::Tell(std::vector<StoredFile> files, std::function<void(bool)> then) {
  if (!files.empty() && storing_shared_) {
    telling_.push_back({std::move(then), /*waits=*/true, std::move(files)});
    return;
  }
  const bool waits = !files.empty() && PutTold(std::move(files));
  if (!waits && telling_.empty()) return then(false);
  telling_.push_back({std::move(then), waits, {}});
}

bool Video::PutTold(std::vector<StoredFile> files) {
  return Put(std::move(files), [this](const absl::Status& status) { OnStored(status); });
}

bool Video::Put(std::vector<StoredFile> files, std::function<void(const absl::Status&)> done) {
  const MutexLock lock(store_mutex_);
  if (!stores_) return false;
  store_->Put(std::move(files), token_,
              [self = shared_from_this(), done = std::move(done)](const absl::Status& status) {
                self->strand_.Post([self, done, status] { done(status); });
              });
  return true;
}

bool Video::lost() const {
  const MutexLock lock(store_mutex_);
  return lost_;
}

void Video::OnStored(const absl::Status& status) {
  if (!status.ok()) StopStoring(status);
  bool stored = false;
  {
    const MutexLock lock(store_mutex_);
    stored = stores_ && status.ok();
  }
  do {
    const Telling next = std::move(telling_.front());
    telling_.pop_front();
    next.tell(stored && next.waits);
  } while (!telling_.empty() && !telling_.front().waits);
}

void Video::StopStoring(const absl::Status& why) {
  const bool taken = absl::IsAborted(why) && token_ != 0;
  {
    const MutexLock lock(store_mutex_);
    if (!std::exchange(stores_, false)) return;
    store_failed_ = !taken;
  }
  if (taken) return Lose();
  host_->OnStoreFailed(*this, why);
}

// What is stored is not all of it, so the next server must not go on with it.
void Video::StoreFailedEnd(StoredEnd end) {
  const MutexLock lock(store_mutex_);
  if (!store_failed_ || forgotten_) return;
  end.state = State::kFailed;
  end.error = StoreError(absl::DataLossError("store: not all of the video could be stored"));
  end.blocks = stored_blocks_;
  end.finished.reset();
  store_->Put(EndFiles(name_, *plan_, end), token_, [](const absl::Status& /*status*/) {});
}

absl::Status Video::LostBehindItsEnd() {
  if (!lost()) return absl::OkStatus();
  const MutexLock lock(mutex_);
  if (error_.ok()) error_ = MadeElsewhere(name_);
  return error_;
}

void Video::Close(const absl::Status& status) {
  unstored_checkpoint_ = {};
  held_.reset();
  // The video may have ended in the midst of a block, and stays known for a long time.
  maker_.Stop();
  early_prompts_.clear();
  // A server that ends leaves a stored video as it is: the next one goes on with it, or does so already.
  const Reason reason = DetailsOf(status).reason;
  const bool stays = reason == Reason::kShuttingDown || reason == Reason::kOtherServer;
  absl::Duration waited;
  StoredEnd end;
  {
    const MutexLock lock(mutex_);
    if (status.ok()) {
      if (state_ == State::kPaused) Move(State::kMaking);
      Move(State::kMade);
    } else {
      End(status);
    }
    waited = waited_;
    end = {.state = state_, .error = error_, .start_time = start_time_, .end_time = end_time_, .blocks = made_blocks_};
  }
  if (end.error.ok()) {
    end.finished = {elapsed(),
                    Finished{.frames = plan_->frames(),
                             .chunks = maker_.chunks(),
                             .size_bytes = maker_.bytes() + static_cast<int64_t>(maker_.stream().init_segment.size()),
                             .duration = plan_->rate.TimeOf(plan_->frames()),
                             .waited = waited,
                             .stages = maker_.stages()}};
  }
  std::vector<StoredFile> files;
  int blocks = 0;
  if (store_ != nullptr && !stays) {
    end.size_bytes = maker_.bytes();
    end.blocks = blocks = maker_.block();
    if (!unstored_.empty()) files = TakeUnstored(blocks++);  // of a block that is cut off
    for (StoredFile& file : EndFiles(name_, *plan_, end)) files.push_back(std::move(file));
  }
  unstored_.clear();
  Tell(std::move(files), [self = shared_from_this(), end, blocks](bool stored) {
    if (stored) {
      self->log_.SetStored(blocks);
      self->store_->Remove(CheckpointPath(self->name_), self->token_, [](const absl::Status& /*status*/) {});
    }
    self->StoreFailedEnd(end);
    const absl::Status lost = self->LostBehindItsEnd();
    if (lost.ok() && end.finished.has_value()) self->Log(*end.finished);
    self->log_.Close(lost.ok() ? end.error : lost);
    self->host_->OnClosed(*self);
  });
}

}  // namespace longtake::server
