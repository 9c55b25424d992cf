#include "server/video/production.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/image/image.h"
#include "server/telemetry/log_format.h"
#include "server/video/error.h"

namespace longtake::server {
namespace {

// Of the call that asked for the video, for the log.
std::string IdOf(const Video& video) { return LogValue(video.origin().request_id); }

absl::Status ToError(const scheduler::Quote& quote) {
  using scheduler::Refusal;
  const std::string seconds = absl::StrCat(absl::ToDoubleSeconds(quote.last_chunk));
  ErrorDetails details = {.retry_delay = quote.retry_after,
                          .metadata = {{"queue_length", absl::StrCat(quote.waiting)},
                                       {"start_delay_seconds", absl::StrCat(absl::ToDoubleSeconds(quote.start))}}};
  std::string message(quote.status.message());
  switch (quote.refusal) {
    case Refusal::kNone:
      return absl::OkStatus();
    case Refusal::kStopped:
      return quote.status;
    case Refusal::kInvalid:  // a request that was found right contradicts itself for the scheduler
      return MakeError(absl::StatusCode::kInternal, message, {});
    case Refusal::kNoOffline:
      return InvalidRequest({{"delivery_options.delivery", message}});
    case Refusal::kDeadline:
      return MakeError(absl::StatusCode::kDeadlineExceeded, message,
                       {.reason = Reason::kDeadlineTooShort, .metadata = {{"last_chunk_delay_seconds", seconds}}});
    case Refusal::kQueueFull:
    case Refusal::kTenantLimit:
      details.reason = Reason::kQueueFull;
      break;
    case Refusal::kOwnMaxWait:
      message = absl::StrCat("delivery_options.max_wait_duration: ", message);
      [[fallthrough]];
    case Refusal::kLongWait:
      details.reason = Reason::kWaitTooLong;
      break;
  }
  return MakeError(quote.status.code(), message, details);
}

}  // namespace

Production::Production(const StudioOptions& options, std::unique_ptr<Engine> engine, const scheduler::Clock* clock,
                       Metrics* metrics, spdlog::logger* logger, Library* library, Storage storage, Accounts* accounts,
                       SpanSink* spans)
    : options_(options),
      engine_(std::move(engine)),
      metrics_(metrics),
      logger_(logger),
      library_(library),
      storage_(storage),
      accounts_(accounts != nullptr ? accounts : &no_accounts_),
      spans_(spans, /*stores=*/storage.store != nullptr),
      device_watch_(options.stuck_after, options.stuck_factor, clock),
      device_(engine_.get(), &device_watch_,
              [metrics](size_t passes, int64_t tokens) { metrics->Batch(passes, tokens); }),
      encoders_(std::make_unique<WorkerPool>(options.encoder_threads)),
      loop_(clock),
      scheduler_(std::make_unique<scheduler::Scheduler>(SchedulerOptions(options), &loop_, &device_, this)) {
  loop_.Start();
}

Production::~Production() {
  scheduler_->CancelAll(
      MakeError(absl::StatusCode::kUnavailable, "the server is gone", {.reason = Reason::kShuttingDown}));
  {
    MutexLock lock(mutex_);
    ended_.Wait(lock, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return sessions_.empty(); });
  }
  device_.AwaitSaves();
  if (storage_.store != nullptr) storage_.store->AwaitIdle();  // what it tells goes to the encoders' threads
  encoders_.reset();                                           // before the scheduler, which its tasks may call
}

bool Production::has_sessions() const {
  const MutexLock lock(mutex_);
  return !sessions_.empty();
}

uint64_t Production::NewId() {
  const MutexLock lock(mutex_);
  return ++last_id_;
}

scheduler::Request Production::MakeRequest(uint64_t id, const Tenant& tenant, const VideoPlan& plan) const {
  const ModelInfo& model = engine_->model();
  // Tokens are in proportion to pixels, by one factor for all sizes of a model.
  const double pixels = static_cast<double>(plan.session.size.width) * plan.session.size.height;
  return {.id = scheduler::SessionId{id},
          .delivery = plan.options.delivery,
          .block_latents = plan.block_latents,
          .ladder = RungsOf(model, BlockForms(model, plan)),
          .prompt_blocks = plan.prompt_blocks,
          .latent_tokens = pixels,
          .first_latent_seconds = 1 / model.fps,
          .latent_seconds = model.frames_per_latent / model.fps,
          .max_lead = plan.options.max_lead.value_or(absl::InfiniteDuration()),
          .max_wait = plan.options.max_wait.value_or(absl::InfiniteDuration()),
          .tenant = tenant.id,
          .priority = plan.options.priority};
}

void Production::GetQuote(const Tenant& tenant, const VideoPlan& plan,
                          std::function<void(const scheduler::Quote&)> done) const {
  scheduler_->GetQuote(MakeRequest(0, tenant, plan), [done = std::move(done)](scheduler::Quote quote) {
    quote.status = ToError(quote);
    done(quote);
  });
}

std::vector<int> Production::MadeLevels(const Video& video) const {
  const std::vector<BlockForm> forms = BlockForms(engine_->model(), video.plan());
  std::vector<int> levels;
  for (const BlockForm& form : video.made_forms()) {
    const auto found = std::find(forms.begin(), forms.end(), form);
    levels.push_back(found == forms.end() ? 0 : static_cast<int>(found - forms.begin()));
  }
  return levels;
}

decltype(EngineDevice::Job::on_checkpoint) Production::OnCheckpoint(const std::shared_ptr<Video>& video) const {
  if (storage_.store == nullptr) return nullptr;
  return [video](int blocks, std::vector<std::byte> checkpoint, std::shared_ptr<void> held) {
    video->OnCheckpoint(blocks, std::move(checkpoint), std::move(held));
  };
}

void Production::End(const std::shared_ptr<Video>& video, const absl::Status& why) {
  {
    const MutexLock lock(mutex_);
    sessions_[video->id()] = video;
  }
  video->OnEnded(why);
}

absl::StatusOr<SessionSpec> Production::SessionOf(const VideoPlan& plan) {
  SessionSpec session = plan.session;
  if (plan.spec.first_image.empty()) return session;
  const auto [width, height] = session.size;
  absl::StatusOr<Picture> picture = ReadPicture(plan.spec.first_image, int64_t{width} * height, width, height);
  if (!picture.ok()) {
    return MakeError(absl::StatusCode::kDataLoss, absl::StrCat("first_image: ", picture.status().message()),
                     {.reason = Reason::kStoreFailed});
  }
  session.first_image = std::make_shared<const FirstImage>(FirstImage{.rgb = std::move(picture->rgb)});
  return session;
}

StoredCheckpoint Production::TakeCheckpoint(Video& video, const SessionSpec& session) const {
  StoredCheckpoint checkpoint = video.TakeCheckpoint();
  if (checkpoint.blocks == 0) return checkpoint;
  const absl::Status usable = engine_->CheckCheckpoint(session, checkpoint.bytes);
  if (usable.ok()) return checkpoint;
  logger_->warn("a checkpoint cannot be used, and its blocks are made again name={} request_id={} error={}",
                video.name(), IdOf(video), LogValue(usable.message()));
  return {};
}

void Production::Enter(const std::shared_ptr<Video>& video, absl::Duration deadline) {
  const VideoPlan& plan = video->plan();
  const uint64_t id = video->id();
  absl::StatusOr<SessionSpec> session = SessionOf(plan);
  if (!session.ok()) return video->goes_on() ? End(video, session.status()) : video->Refuse(session.status());
  {
    const MutexLock lock(mutex_);
    sessions_[id] = video;
  }
  StoredCheckpoint checkpoint = TakeCheckpoint(*video, *session);
  std::map<int, std::string> prompts;
  for (const std::string& prompt : plan.prompts) prompts.emplace(prompts.size(), prompt);
  device_.AddJob(
      scheduler::SessionId{id},
      {.spec = *std::move(session),
       .prompts = std::move(prompts),
       .negative_prompt = plan.spec.negative_prompt,
       .on_frames = [video](DecodedFrames frames) { video->OnFrames(std::move(frames)); },
       .on_prompt = [video](int prompt, PromptTokens tokens) { video->OnPrompt(prompt, tokens); },
       .on_checkpoint = OnCheckpoint(video),
       .block_latents = plan.block_latents,
       .forms = BlockForms(engine_->model(), plan),
       .checkpoint = std::move(checkpoint.bytes),
       .made_latents = std::accumulate(plan.block_latents.begin(), plan.block_latents.begin() + checkpoint.blocks, 0)});
  scheduler::Request request = MakeRequest(id, video->tenant(), plan);
  request.deadline = deadline;
  request.made_blocks = checkpoint.blocks;
  request.made_levels = MadeLevels(*video);
  request.accepted_before = video->goes_on();
  scheduler_->Enter(std::move(request), [this, video, from = checkpoint.blocks](const scheduler::Quote& quote) {
    if (!quote.ok()) {
      device_.RemoveJob(scheduler::SessionId{video->id()});
      if (video->goes_on()) return video->OnEnded(ToError(quote));
      video->Refuse(ToError(quote));
      Remove(video->id());
      return;
    }
    if (video->goes_on()) {
      logger_->info("video goes on name={} request_id={} blocks={} stored={} made_again_from={}", video->name(),
                    IdOf(*video), video->plan().blocks(), video->made_forms().size(), from);
      return;
    }
    const VideoPlan& plan = video->plan();
    logger_->info(
        "video accepted name={} request_id={} size={}x{} seconds={:.4f} blocks={} seed={} delivery={} tenant={}",
        video->name(), IdOf(*video), plan.session.size.width, plan.session.size.height,
        absl::ToDoubleSeconds(plan.rate.TimeOf(plan.frames())), plan.blocks(), plan.session.seed,
        video->live() ? "live" : "offline", LogValue(video->tenant().id));
    if (const size_t shared = video->made_forms().size(); shared > 0) {
      logger_->info("video begins with another's blocks name={} request_id={} shared={} made_again_from={}",
                    video->name(), IdOf(*video), shared, from);
    }
    video->Accept(quote);
    if (storage_.registry == nullptr) return;
    // This is the scheduler's loop, which does not wait for Redis.
    encoders_->Post([registry = storage_.registry, video] {
      registry->AddVideo(video->tenant().id, video->name(), video->info().create_time);
    });
  });
}

void Production::ChangePrompt(const std::shared_ptr<Video>& video, int block, const std::string& prompt,
                              std::function<void(const absl::StatusOr<Place>&)> done) {
  const scheduler::SessionId session{video->id()};
  scheduler_->ChangePrompt(
      session, block,
      [this, session, video, prompt,
       done = std::move(done)](const absl::StatusOr<scheduler::Scheduler::PromptPlace>& place) {
        if (place.ok()) {
          device_.SetPrompt(session, place->prompt, prompt);
          logger_->info("prompt changed name={} request_id={} prompt={} block={}", video->name(), IdOf(*video),
                        place->prompt, place->block);
          const Place changed{place->prompt, place->block};
          return video->KeepPrompt(changed.block, prompt, [changed, done](const absl::Status& kept) {
            if (!kept.ok()) return done(kept);
            done(changed);
          });
        }
        const absl::Status& why = place.status();
        const Reason reason = absl::IsNotFound(why)            ? Reason::kVideoEnded
                              : absl::IsResourceExhausted(why) ? Reason::kTooManyPrompts
                                                               : Reason::kNoBlockLeft;
        const absl::StatusCode code = absl::IsNotFound(why) ? absl::StatusCode::kFailedPrecondition : why.code();
        const std::string message = reason == Reason::kVideoEnded
                                        ? absl::StrCat(video->name(), " is not being made any more")
                                        : std::string(why.message());
        done(MakeError(code, message, {.reason = reason, .resource = video->name()}));
      });
}

std::shared_ptr<Video> Production::Find(uint64_t id) const {
  const MutexLock lock(mutex_);
  return sessions_.at(id);
}

void Production::Remove(uint64_t id) {
  accounts_->OnOver(id);
  const MutexLock lock(mutex_);
  sessions_.erase(id);
  ended_.NotifyAll();  // under the lock: the destructor may be waiting for it
}

void Production::OnWaiting(scheduler::SessionId id, int position) {
  accounts_->OnWaiting(Number(id));
  Find(Number(id))->OnWaiting(position);
}

void Production::OnAdmitted(scheduler::SessionId id) {
  accounts_->OnPlaced(Number(id));
  const std::shared_ptr<Video> video = Find(Number(id));
  spans_.OnAdmitted(*video);
  video->OnAdmitted();
}

void Production::OnPass(scheduler::SessionId id, const scheduler::PassReport& report) {
  metrics_->Passed(report.kind, report.device_seconds);
  accounts_->OnUsed(Number(id), report.device_seconds);
  const std::shared_ptr<Video> video = Find(Number(id));
  video->OnPass(report, BlockForms(engine_->model(), video->plan())[report.level]);
}

void Production::OnBlock(scheduler::SessionId id, int block) { Find(Number(id))->OnBlock(block); }

void Production::OnEnded(scheduler::SessionId id, const absl::Status& why) {
  const std::shared_ptr<Video> video = Find(Number(id));
  device_.RemoveJob(id);
  // The scheduler's own word for a wait that was too long. All others are ours or the device's.
  const bool waited = absl::IsDeadlineExceeded(why) && DetailsOf(why).reason == Reason::kDeviceFailed &&
                      video->state() == State::kQueued;
  video->OnEnded(waited ? MakeError(why.code(), std::string(why.message()), {.reason = Reason::kWaitedTooLong}) : why);
}

void Production::Cancel(uint64_t id, const absl::Status& why) { scheduler_->Cancel(scheduler::SessionId{id}, why); }

void Production::Delivered(uint64_t id, absl::Duration until) {
  scheduler_->Delivered(scheduler::SessionId{id}, until);
}

void Production::Consumed(uint64_t id, absl::Duration position, bool paused) {
  scheduler_->Consumed(scheduler::SessionId{id}, position, paused);
}

void Production::OnFirstChunk(const Video& video, absl::Duration elapsed) {
  if (!video.live() || video.promised() == absl::InfiniteDuration()) return;
  metrics_->FirstChunkQuoted(absl::ToDoubleSeconds(video.promised()), absl::ToDoubleSeconds(elapsed));
}

void Production::OnBlockMade(const Video& video, const BlockReport& report) {
  const BlockForm full = BlockForms(engine_->model(), video.plan()).front();
  metrics_->BlockMade(report.seconds, absl::ToDoubleSeconds(report.stages.device()),
                      BlockForm{report.steps, report.decoder} != full);
  spans_.OnBlockMade(video, report);
  logger_->debug("block made name={} request_id={} decoded={:.3f} finished={:.3f}", video.name(), IdOf(video),
                 absl::ToDoubleSeconds(report.decode), absl::ToDoubleSeconds(report.finish));
}

void Production::OnChunkSent(const SentChunk& chunk) {
  metrics_->ChunkSent(chunk.bytes, absl::ToDoubleSeconds(chunk.duration));
  metrics_->Stalled(chunk.stalls);
  if (chunk.first.has_value()) metrics_->FirstChunk(absl::ToDoubleSeconds(*chunk.first));
}

void Production::OnViewerLeft(std::optional<ViewerOutcome> outcome, int stalls) {
  metrics_->Stalled(stalls);
  if (outcome.has_value()) metrics_->ViewerLeft(*outcome);
}

void Production::OnClosed(Video& video) {
  const VideoInfo info = video.info();
  const std::string outcome = absl::AsciiStrToLower(absl::StatusCodeToString(info.error.code()));
  metrics_->Ended(info.error.code());
  spans_.OnClosed(video, info);
  logger_->info("video ended name={} request_id={} outcome={} elapsed={:.3f} error={}", video.name(), IdOf(video),
                outcome, absl::ToDoubleSeconds(video.elapsed()), LogValue(info.error.message()));
  const Reason reason = info.error.ok() ? Reason::kInternal : DetailsOf(info.error).reason;
  if (storage_.registry != nullptr) {
    Registry::Left left = video.lacks_in_store() ? Registry::Left::kEndedUnstored : Registry::Left::kEnded;
    if (reason == Reason::kShuttingDown) left = Registry::Left::kUnfinished;
    storage_.registry->Release(video.name(), video.token(), left);
  }
  if (reason == Reason::kOtherServer) {
    library_->Drop(video, info.error);
  } else {
    library_->OnEnded(video);
  }
  Remove(video.id());
}

void Production::OnForgotten(Video& video) {
  if (storage_.registry == nullptr) return;
  Registry& registry = *storage_.registry;
  const std::string &tenant = video.tenant().id, &request_id = video.description().info.request_id;
  registry.RemoveVideo(tenant, video.name());
  if (!request_id.empty()) registry.ForgetRequest(tenant, request_id, video.name());
  // One that has not ended yet is released when it has.
  if (video.log().closed()) registry.Release(video.name(), video.token(), Registry::Left::kEnded);
}

void Production::OnStoreFailed(const Video& video, const absl::Status& why) {
  metrics_->StoreFailed();
  logger_->error("video is not stored any further name={} request_id={} error={}", video.name(), IdOf(video),
                 LogValue(why.message()));
}

}  // namespace longtake::server
