#include "server/video/video.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/video/error.h"

namespace longtake::server {
namespace {

absl::Status Gone() {
  return MakeError(absl::StatusCode::kCancelled, "the video's viewers have gone", {.reason = Reason::kVideoCancelled});
}

// Since its acceptance, of a video that was accepted before.
absl::Duration Age(const StoredVideo& video) {
  if (video.info.create_time == absl::Time()) return absl::ZeroDuration();
  return std::max(absl::ZeroDuration(), absl::Now() - video.info.create_time);
}

// All of a block's making, too: it was not made in this video.
void SetTime(absl::Duration elapsed, Event& event) {
  event.elapsed = elapsed;
  auto* chunk = std::get_if<Chunk>(&event.body);
  if (chunk == nullptr || !chunk->report.has_value()) return;
  BlockReport& report = *chunk->report;
  report.start = report.denoise = report.commit = report.decode = report.finish = elapsed;
}

absl::Status NotRead() {
  return MakeError(absl::StatusCode::kAborted, "nobody has read the video for too long", {.reason = Reason::kNotRead});
}

}  // namespace

Video::Video(VideoCreation creation, const scheduler::Clock* clock, WorkerPool* encoders, VideoHost* host)
    : id_(creation.id),
      origin_(std::move(creation.origin)),
      name_(creation.description.info.name),
      plan_(creation.description.info.plan),
      description_(std::move(creation.description)),
      store_(creation.store),
      token_(creation.token),
      max_unread_(creation.max_unread),
      clock_(clock),
      host_(host),
      accepted_(clock->Now() - Age(description_)),
      records_(accepted_),
      log_(
          std::move(creation.serializer),
          store_ == nullptr ? ChunkLog::ReadBlock()
                            : [store = store_, name = name_](
                                  int block) { return ReadStoredBlock(*store, name, block, /*with_media=*/true); }),
      strand_(encoders),
      maker_(plan_.get(), description_.stream, clock),
      shared_blocks_(std::move(creation.shared_blocks)),
      stores_(store_ != nullptr) {
  for (const std::vector<Recorded>& block : shared_blocks_) {
    for (const Recorded& each : block) AddMade(each.event, static_cast<int64_t>(each.media.size()));
  }
  made_blocks_ = static_cast<int>(shared_blocks_.size());
  size_bytes_ = maker_.bytes();
}

VideoInfo Video::info() const {
  const MutexLock lock(mutex_);
  return {.name = name_,
          .state = state_,
          .plan = plan_,
          .request_id = description_.info.request_id,
          .numerics_id = description_.info.numerics_id,
          .denoise_steps = description_.info.denoise_steps,
          .create_time = create_time_,
          .start_time = start_time_,
          .end_time = end_time_,
          .changes = changes_,
          .blocks = made_blocks_,
          .size_bytes = size_bytes_,
          .viewers = audience_.size(),
          .error = error_};
}

State Video::state() const {
  const MutexLock lock(mutex_);
  return state_;
}

bool Video::ended() const { return IsEnd(state()); }

absl::Status Video::MadeElsewhere(const std::string& name) {
  return MakeError(absl::StatusCode::kUnavailable, absl::StrCat("another server makes ", name, " now"),
                   {.reason = Reason::kOtherServer, .retry_delay = absl::ZeroDuration(), .resource = name});
}

bool Video::Move(State to) {
  if (!MayMove(state_, to)) return false;
  state_ = to;
  if (to == State::kPlaced) start_time_ = absl::Now();
  if (IsEnd(to)) end_time_ = absl::Now();
  return true;
}

void Video::End(const absl::Status& why) {
  const bool cancelled = DetailsOf(why).reason == Reason::kVideoCancelled;
  if (Move(cancelled ? State::kCancelled : State::kFailed)) error_ = why;
}

void Video::Log(Event event, std::string media) {
  const int64_t grown = log_.Append(std::move(event), std::move(media));
  host_->OnGrown(grown);
}

void Video::WhenDecided(std::function<void(const absl::Status&)> decided) {
  absl::Status decision;
  {
    const MutexLock lock(mutex_);
    if (!decision_.has_value()) {
      undecided_.push_back(std::move(decided));
      return;
    }
    decision = *decision_;
  }
  decided(decision);
}

std::vector<std::string> Video::prompts() const {
  std::vector<std::string> prompts = plan_->prompts;
  const MutexLock lock(mutex_);
  for (const auto& [text, block] : changes_) prompts.push_back(text);
  return prompts;
}

std::optional<absl::Duration> Video::lead() const {
  const MutexLock lock(mutex_);
  const std::optional<absl::Duration> position = audience_.foremost();
  if (!position.has_value()) return std::nullopt;
  return plan_->rate.TimeOf(made_) - *position;
}

absl::Duration Video::promised() const {
  const MutexLock lock(mutex_);
  return promised_;
}

void Video::Accept(const scheduler::Quote& quote) {
  {
    const MutexLock lock(mutex_);
    promised_ = quote.first_chunk;
    create_time_ = absl::Now();
    alone_since_ = clock_->Now();
  }
  const Event accepted{elapsed(), Accepted{.video = info(), .quote = quote, .media_type = maker_.stream().media_type}};
  if (store_ == nullptr && made_forms_.empty()) return Announce(accepted, /*stored=*/false);
  strand_.Post([self = shared_from_this(), accepted] {
    // This is their time in this video.
    for (std::vector<Recorded>& block : self->shared_blocks_) {
      for (Recorded& each : block) SetTime(accepted.elapsed, each.event);
    }
    if (self->store_ == nullptr) return self->Announce(accepted, /*stored=*/false);
    auto stored = std::make_shared<StoredVideo>(self->description_);
    stored->info = std::get<Accepted>(accepted.body).video;
    stored->quote = std::get<Accepted>(accepted.body).quote;
    stored->elapsed = accepted.elapsed;
    if (self->token_ != 0) {
      self->store_->Fence(self->name_, self->token_, [self](const absl::Status& fenced) {
        // Before that of the first Put, which would say that another server writes here.
        if (!fenced.ok()) self->strand_.Post([self, fenced] { self->StopStoring(fenced); });
      });
    }
    self->telling_.push_back({[self, accepted](bool done) { self->Announce(accepted, done); }, /*waits=*/true});
    self->storing_shared_ = true;
    self->StoreShared(0, stored);
  });
}

void Video::Announce(const Event& accepted, bool stored) {
  Log(accepted);
  Log({accepted.elapsed, InitSegment{}}, maker_.stream().init_segment);
  if (stored) log_.SetStored(stored_blocks_ = static_cast<int>(shared_blocks_.size()));
  for (std::vector<Recorded>& block : std::exchange(shared_blocks_, {})) {
    for (Recorded& each : block) Log(std::move(each.event), std::move(each.media));
  }
  std::vector<std::function<void(const absl::Status&)>> undecided;
  {
    const MutexLock lock(mutex_);
    decision_ = absl::OkStatus();
    undecided.swap(undecided_);
  }
  for (const auto& decided : undecided) decided(absl::OkStatus());
}

void Video::Refuse(const absl::Status& why) {
  log_.Discard(why);
  std::vector<std::function<void(const absl::Status&)>> undecided;
  {
    const MutexLock lock(mutex_);
    End(why);
    decision_ = why;
    undecided.swap(undecided_);
  }
  for (const auto& decided : undecided) decided(why);
}

void Video::OnWaiting(int position) { log_.SetLatest({elapsed(), Waiting{position}}); }

void Video::OnAdmitted() {
  {
    const MutexLock lock(mutex_);
    Move(State::kPlaced);
    waited_ = elapsed();
  }
  // Until the first pass is done.
  log_.SetRepeat({elapsed(), Progress{.steps = 1}});
}

void Video::OnPass(const scheduler::PassReport& report, const BlockForm& form) {
  records_.Add(report, form);
  {
    const MutexLock lock(mutex_);
    if (state_ == State::kPlaced) {
      Move(State::kMaking);
      const bool alone = watched_ && audience_.followers() == 0;
      if (alone && plan_->options.disconnect == Disconnect::kPause) Move(State::kPaused);
    }
  }
  if (report.kind == scheduler::PassKind::kEncodePrompt) {
    PromptChanged changed{.prompt = report.prompt, .block = report.block, .pts = plan_->BlockStart(report.block)};
    {
      const MutexLock lock(mutex_);
      const auto tokens = prompt_tokens_.extract(report.prompt);
      if (!tokens.empty()) changed.tokens = tokens.mapped();
    }
    // Behind the frames of the blocks before it.
    strand_.Post([self = shared_from_this(), event = Event{elapsed(), changed}] { self->ChangedPrompt(event); });
  }
  log_.SetLatest({elapsed(), Progress{.kind = report.kind,
                                      .block = report.block,
                                      .step = report.step,
                                      .steps = report.steps,
                                      .done = static_cast<double>(report.passes_done) / report.passes}});
}

void Video::OnFrames(DecodedFrames frames) {
  const auto& starts = plan_->block_starts;
  const int block =
      static_cast<int>(std::upper_bound(starts.begin(), starts.end(), frames.first_frame) - starts.begin()) - 1;
  // shared_ptr: std::function copies what it holds.
  auto shared = std::make_shared<DecodedFrames>(std::move(frames));
  strand_.Post([self = shared_from_this(), shared, making = records_.Get(block)] { self->Encode(*shared, making); });
}

void Video::OnPrompt(int prompt, PromptTokens tokens) {
  const MutexLock lock(mutex_);
  prompt_tokens_[prompt] = tokens;
}

void Video::OnCheckpoint(int blocks, std::vector<std::byte> checkpoint, std::shared_ptr<void> held) {
  // shared_ptr: std::function copies what it holds.
  auto shared = std::make_shared<StoredCheckpoint>(StoredCheckpoint{blocks, std::move(checkpoint)});
  strand_.Post([self = shared_from_this(), shared, held = std::move(held)] {
    if (self->ended()) return;
    self->unstored_checkpoint_ = std::move(*shared);
    self->held_ = held;
    self->KeepCheckpoint();
  });
}

void Video::OnBlock(int block) {
  strand_.Post([self = shared_from_this(), block, report = records_.Take(block)] { self->FinishBlock(block, report); });
}

void Video::OnEnded(const absl::Status& status) {
  // Behind the frames on the strand: no finished chunk is lost.
  strand_.Post([self = shared_from_this(), status] { self->Close(status); });
}

void Video::Cancel(const absl::Status& why) {
  {
    const MutexLock lock(mutex_);
    if (IsEnd(state_)) return;
    End(why);
  }
  host_->Cancel(id_, why);
}

void Video::Lose() {
  {
    const MutexLock lock(store_mutex_);
    stores_ = false;
    lost_ = true;
  }
  Cancel(MadeElsewhere(name_));
}

bool Video::lacks_in_store() const {
  const MutexLock lock(store_mutex_);
  return store_failed_ && !forgotten_;
}

void Video::Forget(std::function<void()> done) {
  if (store_ == nullptr) return done();
  {
    const MutexLock lock(store_mutex_);
    stores_ = false;
    forgotten_ = true;
  }
  host_->OnForgotten(*this);
  store_->Remove(name_, /*token=*/0, [self = shared_from_this(), done = std::move(done)](const absl::Status& status) {
    if (!status.ok()) self->host_->OnStoreFailed(*self, status);
    done();
  });
}

void Video::KeepPrompt(int block, const std::string& text, std::function<void(const absl::Status&)> done) {
  VideoPlan plan = *plan_;
  {
    // Numbers follow each other, and are given one at a time.
    const MutexLock lock(mutex_);
    changes_.emplace_back(text, block);
    for (const auto& [changed, from] : changes_) {
      plan.prompts.push_back(changed);
      plan.prompt_blocks.push_back(from);
    }
  }
  if (store_ != nullptr) {
    const MutexLock lock(store_mutex_);
    if (stores_) {
      const auto put = [self = shared_from_this(), done](const absl::Status& status) {
        if (!status.ok()) self->StopStoring(status);
        done(self->lost() ? MadeElsewhere(self->name_) : absl::OkStatus());
      };
      return store_->Put({PromptsFile(name_, plan)}, token_, put);
    }
  }
  done(absl::OkStatus());
}

void Video::Tick() {
  const DeliveryOptions& options = plan_->options;
  bool never = false;
  log_.Tell();
  {
    const MutexLock lock(mutex_);
    if (!alone_since_.has_value() || IsEnd(state_) || options.disconnect == Disconnect::kContinue) return;
    never = !watched_;
    const absl::Duration reconnect = options.reconnect_timeout.value_or(absl::ZeroDuration());
    if (clock_->Now() - *alone_since_ < (never ? std::max(reconnect, max_unread_) : reconnect)) return;
  }
  Cancel(never ? NotRead() : Gone());
}

absl::StatusOr<std::unique_ptr<Watch>> Video::OpenWatch(const WatchOptions& options,
                                                        const std::weak_ptr<ChunkLog::Listener>& more) {
  if (stored_end_.has_value()) {
    if (absl::Status loaded = LoadEnded(); !loaded.ok()) return loaded;
  }
  if (options.from_block < 0 || options.from_block >= plan_->blocks()) {
    return InvalidRequest(
        {{"from_block", absl::StrCat(options.from_block, " is not within 0 ... ", plan_->blocks() - 1)}});
  }
  ChunkLog::Cursor cursor{.from_block = options.live_edge ? log_.newest_block() : options.from_block,
                          .follow = options.follow,
                          .with_progress = options.with_progress};
  int first_block = cursor.from_block;
  if (options.resume.has_value()) {
    std::optional<int> block = log_.BlockAt(*options.resume);
    // What a viewer was sent of a block that was not stored yet comes again, with the same bytes in the same places.
    if (!block.has_value() && goes_on_ && !log_.closed()) block = log_.newest_block();
    if (!block.has_value()) return InvalidRequest({{"resume_token", "is beyond what the video has sent"}});
    cursor.from_block = 0;
    cursor.at = *options.resume;
    first_block = *block;
  }
  auto watch = std::make_unique<Watch>(shared_from_this(), options, cursor, first_block);
  {
    const MutexLock lock(mutex_);
    audience_.Add(watch.get());
    watch->from_start_ = size_bytes_ == 0;
    if (watch->follows()) {
      watched_ = true;
      alone_since_.reset();
      if (state_ == State::kPaused) Move(State::kMaking);
    }
  }
  log_.Attach(more);
  Pace();
  TellPlayback();
  return watch;
}

void Video::Detach(Watch& watch, bool unread) {
  const absl::Status why = unread ? NotRead() : Gone();
  bool cancel = false;
  {
    const MutexLock lock(mutex_);
    audience_.Remove(&watch);
    if (IsEnd(state_)) return;
    if (watch.follows() && audience_.followers() == 0) {
      alone_since_ = clock_->Now();
      const DeliveryOptions& options = plan_->options;
      if (options.disconnect == Disconnect::kPause && state_ == State::kMaking) Move(State::kPaused);
      cancel = options.disconnect == Disconnect::kCancel &&
               options.reconnect_timeout.value_or(absl::ZeroDuration()) == absl::ZeroDuration();
    }
  }
  if (cancel) return Cancel(why);
  TellPlayback();
}

void Video::OnChunkSent(const Watch& watch, const Chunk& chunk, int64_t bytes, int stalls) {
  SentChunk sent{.bytes = bytes, .duration = chunk.duration, .stalls = stalls, .first = {}};
  {
    const MutexLock lock(mutex_);
    if (!std::exchange(first_sent_, true) && watch.judged_ && watch.from_start_) sent.first = elapsed();
    audience_.Took(watch, chunk.first_frame + chunk.frames);
  }
  host_->OnChunkSent(sent);
  Pace();
}

void Video::Pace() {
  const std::optional<Disconnect> policy = plan_->options.disconnect;
  const bool stored_is_enough = policy == Disconnect::kContinue || (!live() && policy != Disconnect::kPause);
  int64_t from = 0, until = 0;
  {
    const MutexLock lock(mutex_);
    // One that is made may still have to go out: its promise is kept or broken then.
    if (IsEnd(state_) && state_ != State::kMade) return;
    until = stored_is_enough ? made_ : std::min(made_, audience_.taken(*plan_));
    from = std::exchange(delivered_, std::max(delivered_, until));
  }
  if (until <= from) return;
  if (from == 0 && made_forms_.empty()) host_->OnFirstChunk(*this, elapsed());
  host_->Delivered(id_, plan_->rate.TimeOf(until));
}

absl::Status Video::ReportPlayback(const std::string& viewer_id, absl::Duration position, bool paused) {
  {
    const MutexLock lock(mutex_);
    if (!audience_.ReportPlayback(viewer_id, position, paused)) {
      return MakeError(absl::StatusCode::kNotFound, absl::StrCat("viewer_id: nobody watches ", name_, " by this id"),
                       {.reason = Reason::kViewerNotFound, .resource = name_});
    }
  }
  TellPlayback();
  return absl::OkStatus();
}

void Video::TellPlayback() {
  std::optional<Audience::Playback> playback;
  {
    const MutexLock lock(mutex_);
    if (IsEnd(state_)) return;
    playback = audience_.playback();
  }
  if (playback.has_value()) host_->Consumed(id_, playback->position, playback->paused);
}

void Video::CountViewers(int& undisturbed, int& stalled) const {
  const MutexLock lock(mutex_);
  audience_.Count(undisturbed, stalled);
}

}  // namespace longtake::server
