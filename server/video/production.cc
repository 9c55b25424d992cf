#include "server/video/production.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/video/error.h"

namespace longtake::server {
namespace {

// Where a refusal's time to try again is unknown or next to nothing.
constexpr absl::Duration kLeastRetry = absl::Seconds(1);

absl::Status DeadlineTooShort(absl::Duration last_chunk, absl::Duration deadline) {
  return MakeError(absl::StatusCode::kDeadlineExceeded,
                   absl::StrCat("the last chunk would come after ", absl::FormatDuration(last_chunk),
                                ", the call's deadline is in ", absl::FormatDuration(deadline)),
                   {.reason = Reason::kDeadlineTooShort,
                    .metadata = {{"last_chunk_delay_seconds", absl::StrCat(absl::ToDoubleSeconds(last_chunk))}}});
}

}  // namespace

Production::Production(const StudioOptions& options, std::unique_ptr<Engine> engine, const scheduler::Clock* clock,
                       Metrics* metrics, spdlog::logger* logger, Library* library)
    : options_(options),
      engine_(std::move(engine)),
      clock_(clock),
      metrics_(metrics),
      logger_(logger),
      library_(library),
      device_(engine_.get(), [metrics](size_t passes, int64_t tokens) { metrics->Batch(passes, tokens); }),
      encoders_(std::make_unique<WorkerPool>(options.encoder_threads)),
      scheduler_(std::make_unique<scheduler::Scheduler>(
          scheduler::Options{.places = options.max_sessions,
                             .live_places = options.live_places < 0 ? options.max_sessions / 2 : options.live_places,
                             .max_waiting = options.max_waiting,
                             .max_batch_passes = options.max_batch_passes,
                             .max_undelivered_chunks = options.max_undelivered_chunks,
                             .lanes_overlap = engine_->lanes_overlap(),
                             .lead_high = options.lead,
                             .lead_low = options.lead * 0.75,
                             .max_lead = options.max_lead,
                             .max_live_load = options.max_live_load,
                             .max_wait = options.max_wait,
                             // Viewers are given up one by one, by their calls.
                             .max_unread = absl::InfiniteDuration()},
          clock, &device_, this)) {}

Production::~Production() {
  scheduler_->CancelAll(
      MakeError(absl::StatusCode::kUnavailable, "the server is gone", {.reason = Reason::kShuttingDown}));
  {
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return sessions_.empty(); });
  }
  encoders_.reset();  // before the scheduler, which its tasks may call
}

bool Production::AwaitNoSessions(absl::Duration limit) {
  constexpr absl::Duration kForever = absl::Hours(24 * 365);  // beyond it the sum with now may leave 64 bits
  std::unique_lock lock(mutex_);
  return ended_.wait_for(lock, absl::ToChronoNanoseconds(std::min(limit, kForever)),
                         [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return sessions_.empty(); });
}

uint64_t Production::NewId() {
  const std::lock_guard lock(mutex_);
  return ++last_id_;
}

scheduler::Request Production::MakeRequest(uint64_t id, const VideoPlan& plan) const {
  std::vector<double> block_seconds;
  for (int frames : plan.block_frames) block_seconds.push_back(frames / engine_->model().fps);
  // Tokens are in proportion to pixels, by one factor for all sizes of a model.
  const double pixels = static_cast<double>(plan.session.size.width) * plan.session.size.height;
  return {
      .id = id,
      .delivery = plan.options.delivery,
      .block_latents = plan.block_latents,
      .denoise_steps = engine_->model().denoise_steps,
      .step_ladder = plan.options.fidelity == Fidelity::kAdaptive ? engine_->model().step_ladder : std::vector<int>(),
      .prompt_blocks = plan.prompt_blocks,
      .latent_tokens = pixels,
      .first_decode = 1.0 / engine_->model().frames_per_latent,
      .block_seconds = std::move(block_seconds),
      .max_lead = plan.options.max_lead.value_or(absl::InfiniteDuration()),
      .priority = plan.options.priority};
}

scheduler::Quote Production::GetQuote(const VideoPlan& plan) const {
  double predicted = 0;
  return MakeQuote(plan, predicted);
}

scheduler::Quote Production::MakeQuote(const VideoPlan& plan, double& predicted) const {
  scheduler::Quote quote = scheduler_->GetQuote(MakeRequest(0, plan));
  predicted = std::numeric_limits<double>::infinity();
  if (plan.options.delivery == scheduler::Delivery::kLive && quote.first_chunk < absl::InfiniteDuration()) {
    predicted = absl::ToDoubleSeconds(quote.first_chunk);
    const absl::Duration promised = absl::Seconds(correction_.Promise(predicted));
    quote.last_chunk = std::max(promised, quote.last_chunk + promised - quote.first_chunk);
    quote.first_chunk = promised;
    quote.confidence = correction_.Confidence();
  }
  const std::map<std::string, std::string> metadata = {
      {"queue_length", absl::StrCat(quote.waiting)},
      {"start_delay_seconds", absl::StrCat(absl::ToDoubleSeconds(quote.start))}};
  if (quote.status.ok() && plan.options.max_wait.has_value() && quote.start > *plan.options.max_wait) {
    quote.retry_after = std::max(kLeastRetry, quote.start - *plan.options.max_wait);
    quote.status = MakeError(absl::StatusCode::kResourceExhausted,
                             absl::StrCat("max_wait_duration: the wait would be ", absl::FormatDuration(quote.start),
                                          ", longer than ", absl::FormatDuration(*plan.options.max_wait)),
                             {.reason = Reason::kWaitTooLong, .retry_delay = quote.retry_after, .metadata = metadata});
  } else if (absl::IsResourceExhausted(quote.status)) {
    // The scheduler looks at the queue first, and refuses nobody who could begin at once for a long wait.
    const bool full = quote.start <= absl::ZeroDuration() || quote.waiting >= options_.max_waiting;
    quote.retry_after = std::max(kLeastRetry, quote.retry_after);
    quote.status = MakeError(quote.status.code(), std::string(quote.status.message()),
                             {.reason = full ? Reason::kQueueFull : Reason::kWaitTooLong,
                              .retry_delay = quote.retry_after,
                              .metadata = metadata});
  } else if (!quote.status.ok() && !absl::IsUnavailable(quote.status)) {
    // A request that was found right contradicts itself for the scheduler.
    quote.status = MakeError(absl::StatusCode::kInternal, std::string(quote.status.message()), {});
  }
  return quote;
}

void Production::Enter(const std::shared_ptr<Video>& video, absl::Duration deadline) {
  const VideoPlan& plan = video->plan();
  const std::lock_guard admission_lock(admission_);
  double predicted = 0;
  const scheduler::Quote quote = MakeQuote(plan, predicted);
  if (!quote.status.ok()) return video->Refuse(quote.status);
  if (quote.last_chunk < absl::InfiniteDuration() && quote.last_chunk > deadline) {
    return video->Refuse(DeadlineTooShort(quote.last_chunk, deadline));
  }
  const uint64_t id = video->id();
  {
    const std::lock_guard lock(mutex_);
    sessions_[id] = {video, clock_->Now()};
  }
  device_.AddJob(id, {.spec = plan.session,
                      .prompts = plan.prompts,
                      .negative_prompt = plan.spec.negative_prompt,
                      .on_frames = [video](DecodedFrames frames) { video->OnFrames(std::move(frames)); }});
  logger_->info("video accepted name={} size={}x{} seconds={:.4f} blocks={} seed={} delivery={}", video->name(),
                plan.session.size.width, plan.session.size.height,
                absl::ToDoubleSeconds(plan.rate.TimeOf(plan.frames())), plan.blocks(), plan.session.seed,
                video->live() ? "live" : "offline");
  video->Accept(quote, predicted);
  if (const absl::Status added = scheduler_->Add(MakeRequest(id, plan)); !added.ok()) {
    // The server began to shut down since the quote, or a place was lost.
    OnEnded(id, absl::IsUnavailable(added)
                    ? added
                    : MakeError(added.code(), std::string(added.message()),
                                {.reason = Reason::kQueueFull, .retry_delay = std::max(kLeastRetry, quote.start)}));
  }
}

void Production::ChangePrompt(const Video& video, int block, const std::string& prompt,
                              std::function<void(const absl::StatusOr<Place>&)> done) {
  absl::StatusOr<int> number, from;
  {
    const std::lock_guard lock(prompts_);
    number = device_.AddPrompt(video.id(), prompt);
    from = number.ok() ? scheduler_->ChangePrompt(video.id(), block, *number) : number.status();
    if (number.ok() && !from.ok()) device_.RemoveLastPrompt(video.id());
  }
  if (from.ok()) {
    logger_->info("prompt changed name={} prompt={} block={}", video.name(), *number, *from);
    return done(Place{*number, *from});
  }
  const Reason reason = absl::IsNotFound(from.status())            ? Reason::kVideoEnded
                        : absl::IsResourceExhausted(from.status()) ? Reason::kTooManyPrompts
                                                                   : Reason::kNoBlockLeft;
  const absl::StatusCode code =
      absl::IsNotFound(from.status()) ? absl::StatusCode::kFailedPrecondition : from.status().code();
  done(MakeError(code, std::string(from.status().message()), {.reason = reason, .resource = video.name()}));
}

void Production::Tick() {
  scheduler_->Poll();
  std::vector<std::shared_ptr<Video>> late;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, session] : sessions_) {
      const std::optional<absl::Duration> limit = session.video->plan().options.max_wait;
      if (limit.has_value() && clock_->Now() - session.since >= *limit) late.push_back(session.video);
    }
  }
  for (const std::shared_ptr<Video>& video : late) {
    scheduler_->Cancel(video->id(), MakeError(absl::StatusCode::kDeadlineExceeded,
                                              absl::StrCat("no place was free within ",
                                                           absl::FormatDuration(*video->plan().options.max_wait)),
                                              {.reason = Reason::kWaitedTooLong}));
  }
}

std::shared_ptr<Video> Production::Find(uint64_t id) const {
  const std::lock_guard lock(mutex_);
  return sessions_.at(id).video;
}

void Production::OnWaiting(scheduler::SessionId id, int position) { Find(id)->OnWaiting(position); }

void Production::OnAdmitted(scheduler::SessionId id) {
  {
    const std::lock_guard lock(mutex_);
    sessions_.at(id).since = absl::InfiniteDuration();
  }
  Find(id)->OnAdmitted();
}

void Production::OnPass(scheduler::SessionId id, const scheduler::PassReport& report) {
  metrics_->Passed(report.kind, report.device_seconds);
  Find(id)->OnPass(report);
}

void Production::OnBlock(scheduler::SessionId id, int block) { Find(id)->OnBlock(block); }

void Production::OnEnded(scheduler::SessionId id, const absl::Status& why) {
  const std::shared_ptr<Video> video = Find(id);
  device_.RemoveJob(id);
  video->OnEnded(why);
  const std::lock_guard lock(mutex_);
  sessions_.erase(id);  // last, under the lock: the destructor waits for it
  ended_.notify_all();
}

void Production::Cancel(uint64_t id, const absl::Status& why) { scheduler_->Cancel(id, why); }

void Production::Delivered(uint64_t id, int) { scheduler_->ChunkDelivered(id); }

void Production::OnFirstBlock(const Video& video, absl::Duration decoded, absl::Duration delivered) {
  const double predicted = video.predicted(), promised = absl::ToDoubleSeconds(video.promised());
  if (predicted == std::numeric_limits<double>::infinity()) return;
  correction_.Observe(predicted, promised, absl::ToDoubleSeconds(decoded), absl::ToDoubleSeconds(delivered));
  metrics_->FirstChunkQuoted(promised, absl::ToDoubleSeconds(delivered));
}

void Production::OnBlockMade(const Video& video, const BlockReport& report) {
  metrics_->BlockMade(report.seconds, absl::ToDoubleSeconds(report.stages.device()),
                      report.steps < engine_->model().denoise_steps);
  logger_->debug("block made name={} decoded={:.3f} finished={:.3f}", video.name(),
                 absl::ToDoubleSeconds(report.decode), absl::ToDoubleSeconds(report.finish));
}

void Production::OnChunkSent(const SentChunk& chunk) {
  metrics_->ChunkDelivered(chunk.bytes, absl::ToDoubleSeconds(chunk.duration), chunk.stalled);
  if (chunk.first.has_value()) metrics_->FirstChunk(absl::ToDoubleSeconds(*chunk.first));
}

void Production::OnViewerLeft(bool stalled) { metrics_->Watched(stalled); }

void Production::OnClosed(Video& video) {
  const VideoInfo info = video.info();
  const std::string outcome = absl::AsciiStrToLower(absl::StatusCodeToString(info.error.code()));
  metrics_->Ended(outcome);
  logger_->info("video ended name={} outcome={} elapsed={:.3f} message=\"{}\"", video.name(), outcome,
                absl::ToDoubleSeconds(video.elapsed()), std::string(info.error.message()));
  library_->OnEnded(video);
}

}  // namespace longtake::server
