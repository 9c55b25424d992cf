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

absl::Status NotRead() {
  return MakeError(absl::StatusCode::kAborted, "nobody has read the video for too long", {.reason = Reason::kNotRead});
}

}  // namespace

Video::Video(VideoCreation creation, const scheduler::Clock* clock, WorkerPool* encoders, VideoHost* host)
    : id_(creation.id),
      name_(std::move(creation.name)),
      plan_(std::make_shared<const VideoPlan>(std::move(creation.plan))),
      request_id_(std::move(creation.request_id)),
      numerics_id_(std::move(creation.numerics_id)),
      denoise_steps_(creation.denoise_steps),
      max_unread_(creation.max_unread),
      clock_(clock),
      host_(host),
      accepted_(clock->Now()),
      records_(accepted_),
      log_(std::move(creation.serializer)),
      strand_(encoders),
      maker_(plan_.get(), std::move(creation.stream), clock) {}

VideoInfo Video::info() const {
  const std::lock_guard lock(mutex_);
  return {.name = name_,
          .state = state_,
          .plan = plan_,
          .request_id = request_id_,
          .numerics_id = numerics_id_,
          .denoise_steps = denoise_steps_,
          .create_time = create_time_,
          .start_time = start_time_,
          .end_time = end_time_,
          .blocks = made_blocks_,
          .size_bytes = size_bytes_,
          .viewers = audience_.size(),
          .error = error_};
}

State Video::state() const {
  const std::lock_guard lock(mutex_);
  return state_;
}

bool Video::ended() const { return IsEnd(state()); }

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

void Video::Append(std::variant<Accepted, InitSegment, Waiting, Progress, PromptChanged, Chunk, Finished> body,
                   std::string media) {
  const int64_t grown = log_.Append({elapsed(), std::move(body)}, std::move(media));
  host_->OnGrown(grown);
}

void Video::WhenDecided(std::function<void(const absl::Status&)> decided) {
  absl::Status decision;
  {
    const std::lock_guard lock(mutex_);
    if (!decision_.has_value()) {
      undecided_.push_back(std::move(decided));
      return;
    }
    decision = *decision_;
  }
  decided(decision);
}

absl::Duration Video::promised() const {
  const std::lock_guard lock(mutex_);
  return promised_;
}

void Video::Accept(const scheduler::Quote& quote) {
  {
    const std::lock_guard lock(mutex_);
    promised_ = quote.first_chunk;
    create_time_ = absl::Now();
    alone_since_ = clock_->Now();
  }
  Append(Accepted{.video = info(), .quote = quote, .media_type = maker_.stream().media_type});
  Append(InitSegment{}, maker_.stream().init_segment);
  std::vector<std::function<void(const absl::Status&)>> undecided;
  {
    const std::lock_guard lock(mutex_);
    decision_ = absl::OkStatus();
    undecided.swap(undecided_);
  }
  for (const auto& decided : undecided) decided(absl::OkStatus());
}

void Video::Refuse(const absl::Status& why) {
  log_.Discard(why);
  std::vector<std::function<void(const absl::Status&)>> undecided;
  {
    const std::lock_guard lock(mutex_);
    End(why);
    decision_ = why;
    undecided.swap(undecided_);
  }
  for (const auto& decided : undecided) decided(why);
}

void Video::OnWaiting(int position) { log_.SetLatest({elapsed(), Waiting{position}}); }

void Video::OnAdmitted() {
  {
    const std::lock_guard lock(mutex_);
    Move(State::kPlaced);
    waited_ = elapsed();
  }
  // Until the first pass is done.
  log_.SetRepeat({elapsed(), Progress{.steps = 1}});
}

void Video::OnPass(const scheduler::PassReport& report) {
  records_.Add(report);
  {
    const std::lock_guard lock(mutex_);
    if (state_ == State::kPlaced) {
      Move(State::kMaking);
      const bool alone = watched_ && audience_.followers() == 0;
      if (alone && plan_->options.disconnect == Disconnect::kPause) Move(State::kPaused);
    }
  }
  if (report.kind == scheduler::PassKind::kEncodePrompt) {
    PromptChanged changed{.prompt = report.prompt, .block = report.block, .pts = plan_->BlockStart(report.block)};
    {
      const std::lock_guard lock(mutex_);
      const auto tokens = prompt_tokens_.extract(report.prompt);
      if (!tokens.empty()) changed.tokens = tokens.mapped();
    }
    // Behind the frames of the blocks before it.
    strand_.Post([self = shared_from_this(), changed] {
      if (!self->ended()) self->Append(changed);
    });
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
  const std::lock_guard lock(mutex_);
  prompt_tokens_[prompt] = tokens;
}

void Video::OnBlock(int block) {
  strand_.Post([self = shared_from_this(), block, report = records_.Take(block)] { self->FinishBlock(block, report); });
}

void Video::OnEnded(const absl::Status& status) {
  // Behind the frames on the strand: no finished chunk is lost.
  strand_.Post([self = shared_from_this(), status] { self->Close(status); });
}

void Video::Encode(const DecodedFrames& frames, const BlockReport& making) {
  if (ended()) return;
  absl::StatusOr<std::optional<Maker::Made>> made = maker_.Add(frames, making);
  if (!made.ok()) return Cancel(made.status());
  if (made->has_value()) AppendMade(**std::move(made));
}

void Video::FinishBlock(int block, const BlockReport& report) {
  if (ended()) return;
  absl::StatusOr<Maker::Made> made = maker_.FinishBlock(report, accepted_);
  if (!made.ok()) return Cancel(made.status());
  const BlockReport finished = *made->chunk.report;
  {
    const std::lock_guard lock(mutex_);
    made_blocks_ = block + 1;
  }
  AppendMade(*std::move(made));
  host_->OnBlockMade(*this, finished);
}

void Video::AppendMade(Maker::Made made) {
  {
    // Before the chunk is in the log, for a viewer may take it at once.
    const std::lock_guard lock(mutex_);
    size_bytes_ += static_cast<int64_t>(made.bytes.size());
    made_ = made.chunk.first_frame + made.chunk.frames;
  }
  Append(std::move(made.chunk), std::move(made.bytes));
  Pace();
}

void Video::Close(const absl::Status& status) {
  absl::Status end;
  absl::Duration waited;
  {
    const std::lock_guard lock(mutex_);
    if (status.ok()) {
      if (state_ == State::kPaused) Move(State::kMaking);
      Move(State::kMade);
    } else {
      End(status);
    }
    end = error_;
    waited = waited_;
  }
  if (end.ok()) {
    Append(Finished{.frames = plan_->frames(),
                    .chunks = maker_.chunks(),
                    .size_bytes = maker_.bytes() + static_cast<int64_t>(maker_.stream().init_segment.size()),
                    .duration = plan_->rate.TimeOf(plan_->frames()),
                    .waited = waited,
                    .stages = maker_.stages()});
  }
  log_.Close(end);
  host_->OnClosed(*this);
}

void Video::Cancel(const absl::Status& why) {
  {
    const std::lock_guard lock(mutex_);
    if (IsEnd(state_)) return;
    End(why);
  }
  host_->Cancel(id_, why);
}

void Video::Tick() {
  const DeliveryOptions& options = plan_->options;
  bool never = false;
  log_.Tell();
  {
    const std::lock_guard lock(mutex_);
    if (!alone_since_.has_value() || IsEnd(state_) || options.disconnect == Disconnect::kContinue) return;
    never = !watched_;
    const absl::Duration reconnect = options.reconnect_timeout.value_or(absl::ZeroDuration());
    if (clock_->Now() - *alone_since_ < (never ? std::max(reconnect, max_unread_) : reconnect)) return;
  }
  Cancel(never ? NotRead() : Gone());
}

absl::StatusOr<std::unique_ptr<Watch>> Video::OpenWatch(const WatchOptions& options,
                                                        const std::weak_ptr<ChunkLog::Listener>& more) {
  if (options.from_block < 0 || options.from_block >= plan_->blocks()) {
    return InvalidRequest(
        {{"from_block", absl::StrCat(options.from_block, " is not within 0 ... ", plan_->blocks() - 1)}});
  }
  ChunkLog::Cursor cursor{.from_block = options.live_edge ? log_.newest_block() : options.from_block,
                          .follow = options.follow,
                          .with_progress = options.with_progress};
  int first_block = cursor.from_block;
  if (options.resume.has_value()) {
    const std::optional<int> block = log_.BlockAt(*options.resume);
    if (!block.has_value()) return InvalidRequest({{"resume_token", "is beyond what the video has sent"}});
    cursor.from_block = 0;
    cursor.at = *options.resume;
    first_block = *block;
  }
  auto watch = std::make_unique<Watch>(shared_from_this(), options, cursor, first_block);
  {
    const std::lock_guard lock(mutex_);
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
    const std::lock_guard lock(mutex_);
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
    const std::lock_guard lock(mutex_);
    if (!std::exchange(first_sent_, true) && watch.judged_ && watch.from_start_) sent.first = elapsed();
    audience_.Took(watch, chunk.first_frame + chunk.frames);
  }
  host_->OnChunkSent(sent);
  Pace();
}

void Video::Pace() {
  const bool stored_is_enough = !live() || plan_->options.disconnect == Disconnect::kContinue;
  int64_t from = 0, until = 0;
  {
    const std::lock_guard lock(mutex_);
    // One that is made may still have to go out: its promise is kept or broken then.
    if (IsEnd(state_) && state_ != State::kMade) return;
    until = stored_is_enough ? made_ : std::min(made_, audience_.taken(*plan_));
    from = std::exchange(delivered_, std::max(delivered_, until));
  }
  if (until <= from) return;
  if (from == 0) host_->OnFirstChunk(*this, elapsed());
  host_->Delivered(id_, plan_->rate.TimeOf(until));
}

absl::Status Video::ReportPlayback(const std::string& viewer_id, absl::Duration position, bool paused) {
  {
    const std::lock_guard lock(mutex_);
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
    const std::lock_guard lock(mutex_);
    if (IsEnd(state_)) return;
    playback = audience_.playback();
  }
  if (playback.has_value()) host_->Consumed(id_, playback->position, playback->paused);
}

void Video::CountViewers(int& undisturbed, int& stalled) const {
  const std::lock_guard lock(mutex_);
  audience_.Count(undisturbed, stalled);
}

}  // namespace longtake::server
