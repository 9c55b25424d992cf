#include "server/video/studio.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <random>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/image/image.h"
#include "server/telemetry/log_format.h"
#include "server/video/video_name.h"

namespace longtake::server {
namespace {

// Of a video that is paused and of which the request does not say how long.
constexpr absl::Duration kPauseFor = absl::Minutes(5);
// Tick comes so often.
constexpr absl::Duration kTickEvery = absl::Milliseconds(50);
// How late a silence or a lost viewer may be noticed.
constexpr absl::Duration kTickVideosEvery = absl::Milliseconds(500);
constexpr absl::Duration kLookForExpiredEvery = absl::Seconds(10);
// A second beside the lease of a server that is gone.
constexpr absl::Duration kAdoptEvery = absl::Seconds(1);
// Between two reports of a viewer the server counts on with 1x: an error of a percent in the viewer's clock is 0.1 s by
// then, less than a block.
constexpr absl::Duration kReportAgain = absl::Seconds(10);

// Calls `done` with the video once it is accepted, or with the reason why it was refused.
void AnswerWhenDecided(const std::shared_ptr<Video>& video,
                       std::function<void(absl::StatusOr<std::shared_ptr<Video>>)> done) {
  video->WhenDecided([video, done = std::move(done)](const absl::Status& decision) {
    if (!decision.ok()) return done(decision);
    done(video);
  });
}

}  // namespace

Studio::Studio(const StudioOptions& options, std::unique_ptr<Engine> engine, SerializerFor serializer_for,
               const scheduler::Clock* clock, Metrics* metrics, spdlog::logger* logger, bool with_thread,
               Storage storage, Accounts* accounts, Policy* policy, SpanSink* spans)
    : options_(options),
      serializer_for_(std::move(serializer_for)),
      clock_(clock),
      metrics_(metrics),
      logger_(logger),
      storage_(storage),
      policy_(policy),
      library_(options.keep_bytes, options.keep_ended),
      production_(options, std::move(engine), clock, metrics, logger, &library_, storage, accounts, spans),
      ticked_(clock->Now()),
      sampled_(clock->Now()),
      expired_(clock->Now()),
      adopted_(clock->Now() - kAdoptEvery),
      pictures_(options.limits) {
  sources_ = std::make_shared<Metrics::Sources>(Metrics::Sources{
      .model = model().name,
      .numerics_id = model().numerics_id,
      .stats = [this] { return production_.stats(); },
      .viewers = [this] { return viewers(); },
      .memory = [this] { return production_.engine().memory(); },
      .moves = [this] { return production_.engine().moves(); },
  });
  metrics_->Watch(sources_);
  if (storage_.store != nullptr) Restore();
  if (with_thread) thread_ = std::thread([this] { Loop(); });
}

Studio::~Studio() {
  {
    const MutexLock lock(mutex_);
    closing_ = true;
  }
  closed_.NotifyAll();
  if (thread_.joinable()) thread_.join();
  // A scrape under way holds the sources; it takes microseconds.
  std::weak_ptr<const Metrics::Sources> sources = sources_;
  sources_.reset();
  while (!sources.expired()) absl::SleepFor(absl::Milliseconds(1));
}

absl::Status Studio::CheckNumerics(const StoredVideo& video) const {
  for (const AdapterUse& use : video.info.plan->session.adapters) {
    const auto same = [&](const AdapterInfo& adapter) {
      return adapter.name == use.name && adapter.digest == use.digest;
    };
    if (std::any_of(model().adapters.begin(), model().adapters.end(), same)) continue;
    return MakeError(absl::StatusCode::kFailedPrecondition,
                     absl::StrCat("nothing can be added to ", video.info.name, ": it was begun with the adapter \"",
                                  use.name, "\" of the digest ", use.digest, ", which this server does not have"),
                     {.reason = Reason::kOtherModel, .resource = video.info.name});
  }
  if (video.info.numerics_id == model().numerics_id && video.model_digest == model().model_digest) {
    return absl::OkStatus();
  }
  return MakeError(
      absl::StatusCode::kFailedPrecondition,
      absl::StrCat("nothing can be added to ", video.info.name, ": it was begun with another model, or as ",
                   video.info.numerics_id, " and not ", model().numerics_id),
      {.reason = Reason::kOtherModel, .resource = video.info.name});
}

void Studio::Forget(const std::shared_ptr<Video>& video, std::function<void()> done) {
  // It is cancelled last, so that those that watch it hear that it is gone and not that it was cancelled: here from its
  // log, and at other servers because that end is not stored.
  library_.Grow(-video->log().Discard(NotFound(Reason::kVideoNotFound, video->name())));
  video->Forget(std::move(done));
  video->Cancel(MakeError(absl::StatusCode::kCancelled, "the video was deleted", {.reason = Reason::kVideoCancelled}));
}

void Studio::Loop() {
  MutexLock lock(mutex_);
  while (!closing_) {
    lock.Unlock();
    Tick();
    lock.Lock();
    closed_.WaitFor(lock, kTickEvery, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return closing_; });
  }
}

void Studio::Tick() {
  const absl::Duration now = clock_->Now();
  if (now - ticked_ >= kTickVideosEvery) {
    ticked_ = now;
    for (const std::shared_ptr<Video>& video : library_.all()) video->Tick();
  }
  if (storage_.registry != nullptr && now - adopted_ >= kAdoptEvery) {
    adopted_ = now;
    Adopt();
  }
  if (storage_.store != nullptr && now - expired_ >= kLookForExpiredEvery) {
    expired_ = now;
    RemoveExpired();
  }
  if (now - sampled_ >= absl::Seconds(1)) {
    sampled_ = now;
    for (double slack : production_.stats().slacks) metrics_->Slack(slack);
  }
}

Metrics::Viewers Studio::viewers() const {
  Metrics::Viewers viewers;
  for (const std::shared_ptr<Video>& video : library_.all()) video->CountViewers(viewers.undisturbed, viewers.stalled);
  return viewers;
}

absl::StatusOr<VideoPlan> Studio::Check(const VideoSpec& spec, const DeliveryOptions& options,
                                        std::vector<FieldError> errors, Purpose purpose) const {
  return Check(spec, options, std::move(errors), purpose, options_.limits);
}

absl::StatusOr<VideoPlan> Studio::Check(const VideoSpec& spec, const DeliveryOptions& options,
                                        std::vector<FieldError> errors, Purpose purpose,
                                        const RequestLimits& limits) const {
  // 32 bits of a chosen seed are enough to differ and short enough to type again.
  absl::StatusOr<VideoPlan> plan =
      CheckRequest(spec, options, std::move(errors), purpose, production_.engine(), limits, std::random_device()());
  if (plan.ok() && options_.max_wait < absl::InfiniteDuration()) {
    plan->options.max_wait = std::min(plan->options.max_wait.value_or(options_.max_wait), options_.max_wait);
  }
  return plan;
}

void Studio::Create(CreateRequest request, std::function<void(absl::StatusOr<std::shared_ptr<Video>>)> done) {
  if (auto error = CheckIdentifier("request_id", request.request_id); error.has_value()) {
    request.errors.push_back(*std::move(error));
  }
  // The limit of changes is on those that are asked for, not on those that were made by the way.
  RequestLimits limits = options_.limits;
  limits.max_prompt_changes += request.shared.prompt_changes + (request.fork.has_value() ? 1 : 0);
  // A fork has the other video's picture, as that has kept it.
  if (request.fork.has_value()) limits.max_first_image_bytes = std::numeric_limits<int64_t>::max();
  absl::StatusOr<VideoPlan> plan =
      Check(request.spec, request.options, std::move(request.errors), Purpose::kMake, limits);
  if (!plan.ok()) return done(plan.status());
  const absl::Duration deadline = clock_->Now() + request.deadline;
  if (plan->spec.first_image.empty()) return Describe(std::move(request), *std::move(plan), deadline, std::move(done));
  request.spec.first_image = PictureDigest(request.spec.first_image);
  std::string image = std::exchange(plan->spec.first_image, {});
  const Size size = plan->session.size;
  // std::function copies what it holds.
  auto asked = std::make_shared<std::pair<CreateRequest, VideoPlan>>(std::move(request), *std::move(plan));
  pictures_.Read(std::move(image), size, [this, asked, deadline, done](absl::StatusOr<std::string> png) {
    if (!png.ok()) return done(png.status());
    asked->second.spec.first_image = *std::move(png);
    Describe(std::move(asked->first), std::move(asked->second), deadline, done);
  });
}

void Studio::Describe(CreateRequest request, VideoPlan plan, absl::Duration deadline,
                      std::function<void(absl::StatusOr<std::shared_ptr<Video>>)> done) {
  DeliveryOptions& options = plan.options;
  if (!options.disconnect.has_value()) options.disconnect = request.default_disconnect;
  if (!options.reconnect_timeout.has_value()) {
    options.reconnect_timeout = options.disconnect == Disconnect::kPause ? kPauseFor : absl::ZeroDuration();
  }
  absl::StatusOr<media::Stream> stream = media::DescribeStream({.width = plan.session.size.width,
                                                                .height = plan.session.size.height,
                                                                .rate = plan.rate,
                                                                .frames = plan.frames()});
  if (!stream.ok()) {
    return done(
        MakeError(stream.status().code(), std::string(stream.status().message()), {.reason = Reason::kEncoderFailed}));
  }
  if (absl::Status fit = CheckShared(request.shared, plan, model()); !fit.ok()) return done(fit);
  StoredVideo description;
  description.info.name = NewVideoName();
  description.tenant = request.tenant;
  description.info.plan = std::make_shared<const VideoPlan>(std::move(plan));
  description.info.request_id = request.request_id;
  description.info.numerics_id = model().numerics_id;
  description.info.denoise_steps = model().denoise_steps;
  description.spec = request.spec;
  description.options = request.options;
  description.fork = request.fork;
  description.model_digest = model().model_digest;
  description.stream = *std::move(stream);
  // What was accepted before is not asked about again, whichever server has accepted it.
  const absl::StatusOr<std::shared_ptr<Video>> known =
      FindRequest(request.tenant, request.request_id, [&] { return library_.FindRequest(description); });
  if (!known.ok()) return done(known.status());
  if (*known != nullptr) return AnswerWhenDecided(*known, std::move(done));
  PolicyQuestion question{.purpose = request.fork.has_value() ? PolicyPurpose::kFork : PolicyPurpose::kCreate,
                          .tenant = request.tenant,
                          .spec = std::move(request.spec),
                          .video = request.fork.has_value() ? request.fork->name : ""};
  question.spec.first_image = description.info.plan->spec.first_image;
  AskPolicy(std::move(question), done,
            [this, description = std::move(description), shared = std::move(request.shared),
             origin = std::move(request.origin), deadline, done]() mutable {
              Admit(std::move(description), std::move(origin), std::move(shared), deadline - clock_->Now(),
                    std::move(done));
            });
}

void Studio::AskPolicy(PolicyQuestion question, std::function<void(const absl::Status&)> refuse,
                       std::function<void()> go_on) {
  if (policy_ == nullptr) return go_on();
  policy_->Ask(std::move(question), [refuse = std::move(refuse), go_on = std::move(go_on)](const absl::Status& answer) {
    if (!answer.ok()) return refuse(answer);
    go_on();
  });
}

void Studio::Admit(StoredVideo description, CallOrigin origin, SharedBlocks shared, absl::Duration deadline,
                   std::function<void(absl::StatusOr<std::shared_ptr<Video>>)> done) {
  uint64_t token = 0;
  if (storage_.registry != nullptr) {
    absl::StatusOr<uint64_t> claimed = Claim(description);
    if (!claimed.ok()) return done(claimed.status());
    token = *claimed;
  }
  ChunkLog::Serializer serializer = serializer_for_(description.info.name);
  const auto video = std::make_shared<Video>(VideoCreation{.id = production_.NewId(),
                                                           .origin = std::move(origin),
                                                           .description = std::move(description),
                                                           .serializer = std::move(serializer),
                                                           .max_unread = options_.max_unread,
                                                           .store = storage_.store,
                                                           .token = token,
                                                           .shared_blocks = std::move(shared.blocks)},
                                             clock_, production_.encoders(), &production_);
  const absl::StatusOr<std::shared_ptr<Video>> known = library_.Add(video);
  if (token != 0 && (!known.ok() || *known != video)) GiveUp(*video);
  if (!known.ok()) return done(known.status());
  AnswerWhenDecided(*known, std::move(done));
  if (*known != video) return;
  video->WhenDecided([this, video = video.get()](const absl::Status& decision) {
    if (decision.ok()) return;
    GiveUp(*video);
    library_.Remove(video->tenant(), video->name());
  });
  const absl::Status may =
      production_.accounts()->OnNew(video->id(), video->tenant(), video->name(), video->plan().options.delivery,
                                    /*restored=*/false);
  if (!may.ok()) return video->Refuse(may);
  production_.Enter(video, deadline);
}

void Studio::Fork(ForkRequest request, std::function<void(absl::StatusOr<std::shared_ptr<Video>>)> done) {
  // Asked for again, it is there, whatever became of the other video.
  const absl::StatusOr<std::shared_ptr<Video>> known = FindRequest(request.tenant, request.request_id, [&] {
    return library_.FindFork(request.tenant, request.request_id, request.fork, request.options);
  });
  if (!known.ok()) return done(known.status());
  if (*known != nullptr) return AnswerWhenDecided(*known, std::move(done));
  const ForkSpec& fork = request.fork;
  const absl::StatusOr<std::shared_ptr<Video>> source = Find(request.tenant, fork.name);
  if (!source.ok()) return done(source.status());
  const VideoPlan& plan = (*source)->plan();
  if (!model().switches_prompt) request.errors.push_back({"prompt", "this model keeps its prompt"});
  if (fork.from_block < 1 || fork.from_block >= plan.blocks()) {
    request.errors.push_back({"from_block", absl::StrCat(fork.from_block, " is not within 1 ... ", plan.blocks() - 1)});
  }
  if (!request.errors.empty()) return done(InvalidRequest(std::move(request.errors)));
  if (absl::Status same = CheckNumerics((*source)->description()); !same.ok()) return done(same);
  absl::StatusOr<std::vector<std::vector<Recorded>>> blocks = (*source)->Blocks(0, fork.from_block);
  if (!blocks.ok()) return done(blocks.status());
  CreateRequest create{
      .tenant = request.tenant, .origin = request.origin, .options = request.options, .request_id = request.request_id};
  create.fork = fork;
  create.shared = {.latents = plan.block_latents, .blocks = *std::move(blocks)};
  absl::StatusOr<VideoSpec> spec = SpecOfFork(fork, plan, (*source)->prompts(), create.shared);
  if (!spec.ok()) return done(spec.status());
  create.spec = *std::move(spec);
  const int changes = create.shared.prompt_changes;
  Create(std::move(create), [changes, done = std::move(done)](absl::StatusOr<std::shared_ptr<Video>> video) {
    if (!video.ok()) return done(RenameFields(video.status(), changes));
    done(std::move(video));
  });
}

absl::StatusOr<std::shared_ptr<Video>> Studio::Cancel(const Tenant& tenant, const std::string& name) {
  absl::StatusOr<std::shared_ptr<Video>> video = Find(tenant, name);
  if (video.ok()) {
    (*video)->Cancel(
        MakeError(absl::StatusCode::kCancelled, "the video was cancelled", {.reason = Reason::kVideoCancelled}));
  }
  return video;
}

void Studio::Delete(const Tenant& tenant, const std::string& name, std::function<void(const absl::Status&)> done) {
  if (const absl::Status found = Find(tenant, name).status(); !found.ok()) return done(found);
  const std::shared_ptr<Video> video = library_.Remove(tenant, name);
  if (video == nullptr) return done(NotFound(Reason::kVideoNotFound, name));
  Forget(video, [done = std::move(done)] { done(absl::OkStatus()); });
}

absl::StatusOr<absl::Duration> Studio::ReportPlayback(const Tenant& tenant, const std::string& name,
                                                      const std::string& viewer_id, absl::Duration position,
                                                      bool paused) {
  const absl::StatusOr<std::shared_ptr<Video>> video = Find(tenant, name);
  if (!video.ok()) return video.status();
  const absl::Status known = (*video)->ReportPlayback(viewer_id, position, paused);
  if (!known.ok()) return known;
  return kReportAgain;
}

void Studio::ChangePrompt(const Tenant& tenant, const std::string& name, const PromptChange& change,
                          std::vector<FieldError> errors, std::function<void(const absl::StatusOr<Receipt>&)> done) {
  if (auto error = CheckPrompt("change.prompt", change.prompt, options_.limits.max_prompt_bytes); error.has_value()) {
    errors.push_back(*std::move(error));
  }
  const absl::Duration at = change.at.value_or(absl::ZeroDuration());
  if (at < absl::ZeroDuration()) {
    errors.push_back({"change.at_offset", absl::StrCat(absl::ToDoubleSeconds(at), " s is below 0")});
  }
  if (!model().switches_prompt) errors.push_back({"change", "this model keeps its prompt"});
  if (!errors.empty()) return done(InvalidRequest(std::move(errors)));
  absl::StatusOr<std::shared_ptr<Video>> video = Find(tenant, name);
  if (!video.ok()) return done(video.status());
  const VideoPlan& plan = (*video)->plan();
  const int block = plan.BlockAt(at);
  if (block == plan.blocks()) {
    return done(
        InvalidRequest({{"change.at_offset", absl::StrCat("no block begins at or after ", absl::ToDoubleSeconds(at),
                                                          " s; the last begins at ",
                                                          absl::ToDoubleSeconds(plan.BlockStart(block - 1)), " s")}}));
  }
  PolicyQuestion question{
      .purpose = PolicyPurpose::kChangePrompt, .tenant = tenant, .spec = (*video)->description().spec, .video = name};
  question.spec.prompt = change.prompt;
  question.spec.first_image = plan.spec.first_image;
  question.spec.prompt_changes.clear();
  AskPolicy(std::move(question), done, [this, video = *video, block, prompt = change.prompt, done] {
    production_.ChangePrompt(video, block, prompt, [video, done](const absl::StatusOr<Production::Place>& place) {
      if (!place.ok()) return done(place.status());
      done(Receipt{place->prompt, place->block, video->plan().BlockStart(place->block)});
    });
  });
}

}  // namespace longtake::server
