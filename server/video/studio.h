// Everything behind the front: videos are created, found, watched, directed and ended here. The only header of this
// room that others include, with those that it names. Knows no protobuf and no gRPC.
#ifndef LONGTAKE_SERVER_VIDEO_STUDIO_H_
#define LONGTAKE_SERVER_VIDEO_STUDIO_H_

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/mutex.h"
#include "engine/engine.h"
#include "scheduler/scheduler.h"
#include "server/store/store.h"
#include "server/telemetry/metrics.h"
#include "server/telemetry/span.h"
#include "server/video/accounts.h"
#include "server/video/error.h"
#include "server/video/fork.h"
#include "server/video/library.h"
#include "server/video/production.h"
#include "server/video/request.h"
#include "server/video/studio_options.h"
#include "server/video/video.h"
#include "server/video/watch.h"
#include "spdlog/logger.h"

namespace longtake::server {

// What CreateVideo and GenerateVideo ask for.
struct CreateRequest {
  Tenant tenant;
  CallOrigin origin = {};
  VideoSpec spec;
  DeliveryOptions options;
  std::string request_id;
  Disconnect default_disconnect = Disconnect::kContinue;  // where `options` have none
  absl::Duration deadline = absl::InfiniteDuration();     // for the whole video, from now on
  std::vector<FieldError> errors;                         // found before
  std::optional<ForkSpec> fork = {};                      // it is one, and begins with these
  SharedBlocks shared = {};
};

class Studio {
 public:
  // The serializer of the log of the video of this name.
  using SerializerFor = std::function<ChunkLog::Serializer(const std::string& name)>;

  // `clock`, `metrics`, `logger`, `store` and `accounts` outlive it; without accounts nothing is limited by tenant.
  // `spans`, too; null: nothing is traced.
  // Without `with_thread`, Tick is the caller's to call. What the store has of videos is there from the beginning, and
  // those that were not finished go on; null: nothing is stored.
  Studio(const StudioOptions& options, std::unique_ptr<Engine> engine, SerializerFor serializer_for,
         const scheduler::Clock* clock, Metrics* metrics, spdlog::logger* logger, bool with_thread = true,
         Store* store = nullptr, Accounts* accounts = nullptr, SpanSink* spans = nullptr);
  ~Studio();  // ends what is still being made, and waits for the passes under way

  const StudioOptions& options() const { return options_; }
  const ModelInfo& model() const { return production_.engine().model(); }

  // As CheckRequest.
  absl::StatusOr<VideoPlan> Check(const VideoSpec& spec, const DeliveryOptions& options, std::vector<FieldError> errors,
                                  Purpose purpose) const;

  // What Create would promise now; its status says why it would refuse. Keeps nothing. `done` comes in this call or
  // later.
  void GetQuote(const Tenant& tenant, const VideoPlan& plan, std::function<void(const scheduler::Quote&)> done) const {
    production_.GetQuote(tenant, plan, std::move(done));
  }

  // Calls `done` once, in this call or later, with the video: a new one, or that of an earlier request of the same
  // request_id. An error: refused, and nothing is kept of it.
  void Create(CreateRequest request, std::function<void(absl::StatusOr<std::shared_ptr<Video>>)> done);

  // As Create, of a video that is another one up to a block. VIDEO_NOT_FOUND, BLOCK_NOT_MADE, BLOCK_NOT_KEPT or
  // OTHER_MODEL: it cannot begin with these blocks.
  void Fork(ForkRequest request, std::function<void(absl::StatusOr<std::shared_ptr<Video>>)> done);

  // VIDEO_NOT_FOUND from each of them, for another tenant's video too.
  absl::StatusOr<std::shared_ptr<Video>> Find(const Tenant& tenant, const std::string& name) const {
    return library_.Find(tenant, name);
  }
  absl::StatusOr<std::shared_ptr<Video>> Cancel(const Tenant& tenant, const std::string& name);
  // `done`: it is gone, also after a restart.
  void Delete(const Tenant& tenant, const std::string& name, std::function<void(const absl::Status&)> done);

  // Where the viewer of this id is; VIEWER_NOT_FOUND too. Returns when it should report again.
  absl::StatusOr<absl::Duration> ReportPlayback(const Tenant& tenant, const std::string& name,
                                                const std::string& viewer_id, absl::Duration position, bool paused);

  absl::StatusOr<Library::Page> List(const Tenant& tenant, int page_size, const std::string& token) const {
    return library_.List(tenant, page_size, token);
  }

  // From a block on, a video shows another prompt. `errors`: what was found before.
  struct Receipt {
    int prompt = 0, block = 0;
    absl::Duration pts;
  };
  void ChangePrompt(const Tenant& tenant, const std::string& name, const PromptChange& change,
                    std::vector<FieldError> errors, std::function<void(const absl::StatusOr<Receipt>&)> done);

  // Of all tenants: for whoever runs the server.
  std::vector<std::shared_ptr<Video>> videos() const { return library_.all(); }

  void StopAdmission(const absl::Status& why) { production_.StopAdmission(why); }
  void EndAll(const absl::Status& why) { production_.EndAll(why); }
  // Videos that are being made or wait for their place.
  bool has_sessions() const { return production_.has_sessions(); }
  DeviceHealth device_health() const { return production_.device_health(); }
  scheduler::Stats stats() const { return production_.stats(); }
  // Does what time alone has made due.
  void Tick();

 private:
  Metrics::Viewers viewers() const;
  absl::StatusOr<VideoPlan> Check(const VideoSpec& spec, const DeliveryOptions& options, std::vector<FieldError> errors,
                                  Purpose purpose, const RequestLimits& limits) const;
  void Restore();
  // OTHER_MODEL: what is made of the video from now on would not fit to what there is of it.
  absl::Status CheckNumerics(const StoredVideo& video) const;
  void LogUnreadable(const std::string& name, const absl::Status& why) const;
  void RestoreOne(const StoredVideo& stored, const std::optional<StoredEnd>& end);
  void Forget(
      const std::shared_ptr<Video>& video, std::function<void()> done = [] {});
  void Loop();  // thread_'s

  const StudioOptions options_;
  const SerializerFor serializer_for_;
  const scheduler::Clock* const clock_;
  Metrics* const metrics_;
  spdlog::logger* const logger_;
  Store* const store_;
  Library library_;
  Production production_;
  std::shared_ptr<const Metrics::Sources> sources_;
  // The last time that Tick called the videos', looked at the slacks, and looked for videos that have expired.
  absl::Duration ticked_, sampled_, expired_;

  Mutex mutex_;
  ConditionVariable closed_;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_STUDIO_H_
