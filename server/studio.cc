#include "server/studio.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <random>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/video_name.h"

namespace longtake::server {
namespace {

// Where a refusal's time to try again is unknown or next to nothing.
constexpr absl::Duration kLeastRetry = absl::Seconds(1);

}  // namespace

absl::Duration MonotonicClock::Now() const {
  return absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

Studio::Studio(const StudioOptions& options, std::unique_ptr<Engine> engine, const MonotonicClock* clock,
               Metrics* metrics, spdlog::logger* logger)
    : options_(options),
      engine_(std::move(engine)),
      clock_(clock),
      metrics_(metrics),
      logger_(logger),
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
                             .max_unread = options.max_unread},
          clock, &device_, this)) {
  sources_ = std::make_shared<Metrics::Sources>(Metrics::Sources{
      .stats = [this] { return scheduler_->stats(); },
      .viewers = [this] { return viewers(); },
      .memory = [this] { return engine_->memory(); },
      .moves = [this] { return engine_->moves(); },
  });
  metrics_->Watch(sources_);
  poller_ = std::thread([this] { Poll(); });
}

void Studio::Poll() {
  absl::Duration sampled = clock_->Now();
  std::unique_lock lock(mutex_);
  while (!closing_) {
    lock.unlock();
    scheduler_->Poll();
    EndLongWaits();
    GiveUpReaders();
    if (const absl::Duration now = clock_->Now(); now - sampled >= absl::Seconds(1)) {
      sampled = now;
      for (double slack : scheduler_->stats().slacks) metrics_->Slack(slack);
    }
    lock.lock();
    // A stream wakes this much late at most, of a lead of seconds.
    changed_.wait_for(lock, std::chrono::milliseconds(50),
                      [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return closing_; });
  }
}

Studio::~Studio() {
  scheduler_->CancelAll(absl::CancelledError("the server is gone"));
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return videos_.empty(); });
    closing_ = true;
  }
  changed_.notify_all();
  poller_.join();
  encoders_.reset();  // before the scheduler, which its tasks may call
  // A scrape under way holds the sources; it takes microseconds.
  std::weak_ptr<const Metrics::Sources> sources = sources_;
  sources_.reset();
  while (!sources.expired()) absl::SleepFor(absl::Milliseconds(1));
}

Metrics::Viewers Studio::viewers() const {
  Metrics::Viewers viewers;
  const std::lock_guard lock(mutex_);
  for (const auto& [id, video] : videos_) {
    if (video->playing()) ++(video->has_stalled() ? viewers.stalled : viewers.undisturbed);
  }
  return viewers;
}

void Studio::EndLongWaits() {
  std::vector<std::shared_ptr<Video>> late;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, video] : videos_) {
      const std::optional<absl::Duration> limit = video->plan().options.max_wait;
      if (video->waiting() && limit.has_value() && clock_->Now() - video->arrived() >= *limit) late.push_back(video);
    }
  }
  for (const std::shared_ptr<Video>& video : late) {
    scheduler_->Cancel(video->id(), MakeError(absl::StatusCode::kDeadlineExceeded,
                                              absl::StrCat("no place was free within ",
                                                           absl::FormatDuration(*video->plan().options.max_wait)),
                                              {.reason = Reason::kWaitedTooLong}));
  }
}

void Studio::GiveUpReaders() {
  std::vector<std::shared_ptr<EventSink>> late;
  {
    const std::lock_guard lock(mutex_);
    while (!readers_.empty() && readers_.front().until <= clock_->Now()) {
      if (std::shared_ptr<EventSink> sink = readers_.front().sink.lock(); sink != nullptr) {
        late.push_back(std::move(sink));
      }
      readers_.pop_front();
    }
  }
  for (const std::shared_ptr<EventSink>& sink : late) sink->GiveUp();
}

absl::StatusOr<VideoPlan> Studio::Check(const VideoSpec& spec, const DeliveryOptions& options,
                                        std::vector<FieldError> errors, Purpose purpose) const {
  // 32 bits of a chosen seed are enough to differ and short enough to type again.
  absl::StatusOr<VideoPlan> plan =
      CheckRequest(spec, options, std::move(errors), purpose, *engine_, options_.limits, std::random_device()());
  if (plan.ok() && options_.max_wait < absl::InfiniteDuration()) {
    plan->options.max_wait = std::min(plan->options.max_wait.value_or(options_.max_wait), options_.max_wait);
  }
  return plan;
}

scheduler::Request Studio::MakeRequest(uint64_t id, const VideoPlan& plan) const {
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

scheduler::Quote Studio::GetQuote(const VideoPlan& plan) const {
  double predicted = 0;
  return MakeQuote(plan, predicted);
}

scheduler::Quote Studio::MakeQuote(const VideoPlan& plan, double& predicted) const {
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

absl::StatusOr<std::string> Studio::Begin(VideoPlan plan, const std::string& request_id, absl::Duration deadline,
                                          std::shared_ptr<EventSink> sink) {
  absl::StatusOr<media::Stream> stream = media::DescribeStream({.width = plan.session.size.width,
                                                                .height = plan.session.size.height,
                                                                .rate = plan.rate,
                                                                .frames = plan.frames()});
  if (!stream.ok()) {
    return MakeError(stream.status().code(), std::string(stream.status().message()),
                     {.reason = Reason::kEncoderFailed});
  }
  const std::lock_guard admission_lock(admission_);
  double predicted = 0;
  const scheduler::Quote quote = MakeQuote(plan, predicted);
  if (!quote.status.ok()) return quote.status;
  if (quote.last_chunk < absl::InfiniteDuration() && quote.last_chunk > deadline) {
    const double seconds = absl::ToDoubleSeconds(quote.last_chunk);
    return MakeError(
        absl::StatusCode::kDeadlineExceeded,
        absl::StrCat("the last chunk would come after ", absl::FormatDuration(quote.last_chunk),
                     ", the call's deadline is in ", absl::FormatDuration(deadline)),
        {.reason = Reason::kDeadlineTooShort, .metadata = {{"last_chunk_delay_seconds", absl::StrCat(seconds)}}});
  }
  Video::Context context;
  context.clock = clock_;
  context.encoders = encoders_.get();
  context.max_part_bytes = options_.max_part_bytes;
  context.stream = *std::move(stream);
  context.fail = [this](uint64_t id, const absl::Status& why) { scheduler_->Cancel(id, why); };
  const double promised = absl::ToDoubleSeconds(quote.first_chunk);
  context.chunk_delivered = [this, predicted, promised](uint64_t id, const DeliveredChunk& chunk) {
    metrics_->ChunkDelivered(chunk.bytes, chunk.seconds, chunk.stalled);
    if (chunk.block == 0 && chunk.index == 0) metrics_->FirstChunk(chunk.elapsed_seconds);
    if (!chunk.ends_block) return;
    metrics_->BlockDelivered(chunk.block_seconds, chunk.device_seconds, chunk.reduced);
    if (chunk.block == 0 && predicted < std::numeric_limits<double>::infinity()) {
      correction_.Observe(predicted, promised, chunk.decoded_seconds, chunk.elapsed_seconds);
      metrics_->FirstChunkQuoted(promised, chunk.elapsed_seconds);
    }
    logger_->debug("block sent id={} block={} decoded={:.3f} elapsed={:.3f} stalled={}", id, chunk.block,
                   chunk.decoded_seconds, chunk.elapsed_seconds, chunk.stalled);
    scheduler_->ChunkDelivered(id);
  };

  std::shared_ptr<Video> video;
  {
    const std::lock_guard lock(mutex_);
    const uint64_t id = ++last_id_;
    video = std::make_shared<Video>(id, NewVideoName(), std::move(plan), engine_->model(), std::move(context),
                                    std::move(sink));
    videos_[id] = video;
    ids_[video->name()] = id;
  }
  const uint64_t id = video->id();
  const VideoPlan& made = video->plan();
  device_.AddJob(id, {.spec = made.session,
                      .prompts = made.prompts,
                      .negative_prompt = made.spec.negative_prompt,
                      .on_frames = [video](DecodedFrames frames) { video->OnFrames(std::move(frames)); }});
  video->SendAccepted(quote, request_id, absl::Now());
  if (absl::Status added = scheduler_->Add(MakeRequest(id, made)); !added.ok()) {
    // The server began to shut down since the quote, or a place was lost.
    device_.RemoveJob(id);
    const std::lock_guard lock(mutex_);
    ids_.erase(video->name());
    videos_.erase(id);
    changed_.notify_all();
    if (!absl::IsResourceExhausted(added)) return added;
    return MakeError(added.code(), std::string(added.message()),
                     {.reason = Reason::kQueueFull, .retry_delay = std::max(kLeastRetry, quote.start)});
  }
  logger_->info("video accepted name={} size={}x{} seconds={:.4f} blocks={} seed={} delivery={}", video->name(),
                made.session.size.width, made.session.size.height,
                absl::ToDoubleSeconds(made.rate.TimeOf(made.frames())), made.blocks(), made.session.seed,
                made.options.delivery == scheduler::Delivery::kLive ? "live" : "offline");
  return video->name();
}

absl::StatusOr<Studio::Receipt> Studio::ChangePrompt(const std::string& name, const PromptChange& change,
                                                     std::vector<FieldError> errors) {
  if (auto error = CheckPrompt("change.prompt", change.prompt, options_.limits.max_prompt_bytes); error.has_value()) {
    errors.push_back(*std::move(error));
  }
  const absl::Duration at = change.at.value_or(absl::ZeroDuration());
  if (at < absl::ZeroDuration()) {
    errors.push_back({"change.at_offset", absl::StrCat(absl::ToDoubleSeconds(at), " s is below 0")});
  }
  if (!engine_->model().switches_prompt) errors.push_back({"change", "this model keeps its prompt"});
  if (!errors.empty()) return InvalidRequest(std::move(errors));
  const std::shared_ptr<Video> video = Find(name);
  if (video == nullptr) return NotFound(Reason::kVideoNotFound, name);
  const VideoPlan& plan = video->plan();
  const int block = plan.BlockAt(at);
  if (block == plan.blocks()) {
    return InvalidRequest(
        {{"change.at_offset",
          absl::StrCat("no block begins at or after ", absl::ToDoubleSeconds(at), " s; the last begins at ",
                       absl::ToDoubleSeconds(plan.BlockStart(block - 1)), " s")}});
  }
  const absl::StatusOr<int> prompt = device_.AddPrompt(video->id(), change.prompt);
  const absl::StatusOr<int> from =
      prompt.ok() ? scheduler_->ChangePrompt(video->id(), block, *prompt) : prompt.status();
  if (!from.ok()) {
    const Reason reason = absl::IsNotFound(from.status())            ? Reason::kVideoEnded
                          : absl::IsResourceExhausted(from.status()) ? Reason::kTooManyPrompts
                                                                     : Reason::kNoBlockLeft;
    const absl::StatusCode code =
        absl::IsNotFound(from.status()) ? absl::StatusCode::kFailedPrecondition : from.status().code();
    return MakeError(code, std::string(from.status().message()), {.reason = reason, .resource = name});
  }
  logger_->info("prompt changed name={} prompt={} block={}", name, *prompt, *from);
  return Receipt{.prompt = *prompt, .block = *from, .pts = plan.BlockStart(*from)};
}

void Studio::Abandon(const std::string& name) {
  const std::shared_ptr<Video> video = Find(name);
  if (video == nullptr) return;
  video->Abandon();
  scheduler_->Cancel(
      video->id(), MakeError(absl::StatusCode::kCancelled, "the client is gone", {.reason = Reason::kVideoCancelled}));
}

std::shared_ptr<Video> Studio::Find(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto found = ids_.find(name);
  return found == ids_.end() ? nullptr : videos_.at(found->second);
}

std::shared_ptr<Video> Studio::Find(uint64_t id) const {
  const std::lock_guard lock(mutex_);
  const auto found = videos_.find(id);
  return found == videos_.end() ? nullptr : found->second;
}

void Studio::OnWaiting(scheduler::SessionId id, int position) { Find(id)->OnWaiting(position); }
void Studio::OnAdmitted(scheduler::SessionId id) { Find(id)->OnAdmitted(); }

void Studio::OnPass(scheduler::SessionId id, const scheduler::PassReport& report) {
  metrics_->Passed(report.kind, report.device_seconds);
  Find(id)->OnPass(report);
}

void Studio::OnBlock(scheduler::SessionId id, int block) { Find(id)->OnBlock(block); }

void Studio::OnEnded(scheduler::SessionId id, const absl::Status& why) {
  // The scheduler's own word for a client that does not read. All others are ours or the device's.
  const absl::Status status =
      absl::IsDeadlineExceeded(why) && DetailsOf(why).reason == Reason::kDeviceFailed
          ? MakeError(absl::StatusCode::kAborted, std::string(why.message()), {.reason = Reason::kNotRead})
          : why;
  std::shared_ptr<Video> video = Find(id);
  device_.RemoveJob(id);
  const std::string outcome = absl::AsciiStrToLower(absl::StatusCodeToString(status.code()));
  metrics_->Ended(outcome);
  if (video->playing()) metrics_->Watched(video->has_stalled());
  logger_->info("video ended name={} outcome={} elapsed={:.3f} message=\"{}\"", video->name(), outcome,
                absl::ToDoubleSeconds(clock_->Now() - video->arrived()), std::string(status.message()));
  video->OnEnded(status);
  const std::lock_guard lock(mutex_);
  readers_.push_back({clock_->Now() + options_.max_unread, video->sink()});
  ids_.erase(video->name());
  videos_.erase(id);  // last, under the lock: the destructor waits for it
  changed_.notify_all();
}

}  // namespace longtake::server
