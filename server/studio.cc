#include "server/studio.h"

#include <chrono>
#include <limits>
#include <random>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace longtake::server {

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
                             .live_places = options.live_places,
                             .max_waiting = options.max_waiting,
                             .max_batch_passes = options.max_batch_passes,
                             .max_undelivered_chunks = options.max_undelivered_chunks,
                             .lanes_overlap = engine_->lanes_overlap(),
                             .lead_high = options.lead,
                             .lead_low = options.lead * 0.75,
                             .max_lead = options.max_lead,
                             .max_live_load = options.max_live_load,
                             .max_wait = options.max_wait,
                             .max_unread = options.max_unread,
                             .tenant_weights = options.tenant_weights},
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
      if (video->waiting() && clock_->Now() - video->arrived() >= video->plan().max_wait) late.push_back(video);
    }
  }
  for (const std::shared_ptr<Video>& video : late) {
    scheduler_->Cancel(video->id(),
                       absl::DeadlineExceededError(absl::StrCat("max_wait_seconds: no place was free within ",
                                                                absl::FormatDuration(video->plan().max_wait))));
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

CheckedRequest Studio::Check(const v1::GenerateRequest& request, Purpose purpose) const {
  // 32 bits of a chosen seed are enough to differ and short enough to type again.
  return CheckRequest(request, purpose, *engine_, options_.max_prompt_bytes, std::random_device()());
}

scheduler::Request Studio::MakeRequest(uint64_t id, const VideoPlan& plan) const {
  std::vector<double> block_seconds;
  for (int frames : plan.block_frames) block_seconds.push_back(frames / engine_->model().fps);
  // Tokens are in proportion to pixels, by one factor for all sizes of a model.
  const double pixels = static_cast<double>(plan.spec.size.width) * plan.spec.size.height;
  return {.id = id,
          .delivery = plan.delivery,
          .block_latents = plan.block_latents,
          .denoise_steps = engine_->model().denoise_steps,
          .step_ladder = plan.adaptive ? engine_->model().step_ladder : std::vector<int>(),
          .prompt_blocks = plan.story_blocks,
          .latent_tokens = pixels,
          .first_decode = 1.0 / engine_->model().frames_per_latent,
          .block_seconds = std::move(block_seconds),
          .max_lead = plan.max_lead,
          .tenant = plan.tenant,
          .priority = plan.priority};
}

// Names are the clients' choice: without a bound they would fill memory, and the metrics' labels.
std::string Studio::ScheduledTenant(const std::string& tenant) {
  constexpr size_t kMostTenants = 100;
  if (options_.tenant_weights.contains(tenant) || tenants_.contains(tenant)) return tenant;
  if (tenants_.size() == kMostTenants) return "(other)";  // no tenant's name has parentheses
  tenants_.insert(tenant);
  return tenant;
}

scheduler::Quote Studio::GetQuote(const VideoPlan& plan) const {
  double predicted = 0;
  return MakeQuote(plan, predicted);
}

scheduler::Quote Studio::MakeQuote(const VideoPlan& plan, double& predicted) const {
  scheduler::Quote quote = scheduler_->GetQuote(MakeRequest(0, plan));
  predicted = std::numeric_limits<double>::infinity();
  if (plan.delivery == scheduler::Delivery::kLive && quote.first_chunk < absl::InfiniteDuration()) {
    predicted = absl::ToDoubleSeconds(quote.first_chunk);
    const absl::Duration promised = absl::Seconds(correction_.Promise(predicted));
    quote.last_chunk = std::max(promised, quote.last_chunk + promised - quote.first_chunk);
    quote.first_chunk = promised;
    quote.confidence = correction_.Confidence();
  }
  if (quote.status.ok() && quote.start > plan.max_wait) {
    quote.status = absl::ResourceExhaustedError(absl::StrCat("max_wait_seconds: the wait would be ",
                                                             absl::FormatDuration(quote.start), ", longer than ",
                                                             absl::FormatDuration(plan.max_wait)));
    quote.retry_after = quote.start - plan.max_wait;
  }
  return quote;
}

absl::StatusOr<uint64_t> Studio::Begin(VideoPlan plan, std::shared_ptr<EventSink> sink,
                                       scheduler::Quote* refused_with) {
  const std::lock_guard admission_lock(admission_);
  double predicted = 0;
  const scheduler::Quote quote = MakeQuote(plan, predicted);
  if (!quote.status.ok()) {
    if (refused_with != nullptr) *refused_with = quote;
    return quote.status;
  }
  const std::string tenant = ScheduledTenant(plan.tenant);
  Video::Context context;
  context.clock = clock_;
  context.encoders = encoders_.get();
  context.max_part_bytes = options_.max_part_bytes;
  context.fail = [this](uint64_t id, const absl::Status& why) { scheduler_->Cancel(id, why); };
  const double promised = absl::ToDoubleSeconds(quote.first_chunk);
  context.chunk_delivered = [this, predicted, promised](uint64_t id, const DeliveredChunk& chunk) {
    metrics_->ChunkDelivered(chunk.bytes, chunk.seconds, chunk.device_seconds, chunk.stalled);
    if (chunk.reduced) metrics_->ReducedChunk();
    if (chunk.block == 0) metrics_->FirstChunk(chunk.elapsed_seconds);
    if (chunk.block == 0 && predicted < std::numeric_limits<double>::infinity()) {
      correction_.Observe(predicted, promised, chunk.decoded_seconds, chunk.elapsed_seconds);
      metrics_->FirstChunkQuoted(promised, chunk.elapsed_seconds);
    }
    logger_->debug("chunk sent id={} block={} bytes={} decoded={:.3f} elapsed={:.3f} stalled={}", id, chunk.block,
                   chunk.bytes, chunk.decoded_seconds, chunk.elapsed_seconds, chunk.stalled);
    scheduler_->ChunkDelivered(id);
  };

  std::shared_ptr<Video> video;
  {
    const std::lock_guard lock(mutex_);
    const uint64_t id = ++last_id_;
    video = std::make_shared<Video>(id, std::move(plan), engine_->model(), std::move(context), std::move(sink));
    videos_[id] = video;
  }
  const uint64_t id = video->id();
  std::vector<std::string> prompts = video->plan().story;
  prompts.insert(prompts.begin(), video->plan().prompt);
  device_.AddJob(id, {.spec = video->plan().spec,
                      .prompts = std::move(prompts),
                      .negative_prompt = video->plan().negative_prompt,
                      .on_frames = [video](DecodedFrames frames) { video->OnFrames(std::move(frames)); }});
  video->SendAccepted(Describe(quote));
  const VideoPlan& made = video->plan();
  scheduler::Request request = MakeRequest(id, made);
  request.tenant = tenant;
  if (absl::Status added = scheduler_->Add(std::move(request)); !added.ok()) {
    // The server began to shut down since the quote, or a place was lost: then the sink must be thrown away.
    if (refused_with != nullptr) *refused_with = {.status = added};
    device_.RemoveJob(id);
    const std::lock_guard lock(mutex_);
    videos_.erase(id);
    changed_.notify_all();
    return added;
  }
  logger_->info("video accepted id={} size={}x{} seconds={:.4f} blocks={} seed={} delivery={}", id,
                made.spec.size.width, made.spec.size.height, made.seconds, made.block_latents.size(), made.spec.seed,
                made.delivery == scheduler::Delivery::kLive ? "live" : "offline");
  return id;
}

absl::StatusOr<v1::PromptChanged> Studio::ChangePrompt(uint64_t id, const std::string& tenant,
                                                       const v1::PromptChange& change,
                                                       std::vector<FieldError>& errors) {
  errors = CheckPrompt("change.prompt", change.prompt(), options_.max_prompt_bytes);
  if (!(change.at_seconds() >= 0)) {
    errors.push_back({"change.at_seconds", absl::StrCat(change.at_seconds(), " is below 0")});
  }
  if (!engine_->model().switches_prompt) errors.push_back({"change", "this model keeps its prompt"});
  if (!errors.empty()) return absl::InvalidArgumentError("the change has errors");
  const std::shared_ptr<Video> video = Find(id);
  if (video == nullptr || video->plan().tenant != tenant) {
    return absl::NotFoundError(absl::StrCat("id: no video ", id, " of this tenant is being made"));
  }
  const VideoPlan& plan = video->plan();
  const double fps = engine_->model().fps;
  const int block = BlockAt(plan, fps, change.at_seconds());
  if (block == static_cast<int>(plan.block_frames.size())) {
    errors.push_back({"change.at_seconds", absl::StrCat("no block begins at or after ", change.at_seconds(),
                                                        "; the last begins at ", BlockSeconds(plan, fps, block - 1))});
    return absl::InvalidArgumentError("the change has errors");
  }
  ASSIGN_OR_RETURN(const int prompt, device_.AddPrompt(id, change.prompt()));
  ASSIGN_OR_RETURN(const int from, scheduler_->ChangePrompt(id, block, prompt));
  logger_->info("prompt changed id={} prompt={} block={}", id, prompt, from);
  v1::PromptChanged receipt;
  receipt.set_prompt(prompt);
  receipt.set_block(from);
  receipt.set_first_pts_seconds(BlockSeconds(plan, fps, from));
  return receipt;
}

void Studio::Abandon(uint64_t id) {
  if (std::shared_ptr<Video> video = Find(id); video != nullptr) video->Abandon();
  scheduler_->Cancel(id, absl::CancelledError("the client is gone"));
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

void Studio::OnEnded(scheduler::SessionId id, const absl::Status& status) {
  std::shared_ptr<Video> video = Find(id);
  device_.RemoveJob(id);
  const std::string outcome = absl::AsciiStrToLower(absl::StatusCodeToString(status.code()));
  metrics_->Ended(outcome);
  if (video->playing()) metrics_->Watched(video->has_stalled());
  logger_->info("video ended id={} outcome={} elapsed={:.3f} message=\"{}\"", id, outcome,
                absl::ToDoubleSeconds(clock_->Now() - video->arrived()), std::string(status.message()));
  video->OnEnded(status);
  const std::lock_guard lock(mutex_);
  readers_.push_back({clock_->Now() + options_.max_unread, video->sink()});
  videos_.erase(id);  // last, under the lock: the destructor waits for it
  changed_.notify_all();
}

}  // namespace longtake::server
