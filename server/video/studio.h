// Everything behind the front: videos are created, found, watched, directed and ended here. The only header of this
// room that others include, with those that it names. Knows no protobuf and no gRPC.
#ifndef LONGTAKE_SERVER_VIDEO_STUDIO_H_
#define LONGTAKE_SERVER_VIDEO_STUDIO_H_

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/mutex.h"
#include "engine/engine.h"
#include "scheduler/scheduler.h"
#include "server/store/storage.h"
#include "server/telemetry/metrics.h"
#include "server/telemetry/span.h"
#include "server/video/accounts.h"
#include "server/video/error.h"
#include "server/video/fork.h"
#include "server/video/library.h"
#include "server/video/picture_reader.h"
#include "server/video/policy.h"
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

  // `clock`, `metrics`, `logger`, what is in `storage`, `accounts`, `policy` and `spans` outlive it; without accounts
  // nothing is limited by tenant, without a policy everything may be made, without spans nothing is traced. The policy
  // calls nothing of it back once it is destroyed. Without `with_thread`, Tick is the caller's to call. What the store
  // has of videos is there from the beginning. Those that were not finished go on, here or, with a registry, at the
  // first server that takes them.
  Studio(const StudioOptions& options, std::unique_ptr<Engine> engine, SerializerFor serializer_for,
         const scheduler::Clock* clock, Metrics* metrics, spdlog::logger* logger, bool with_thread = true,
         Storage storage = {}, Accounts* accounts = nullptr, Policy* policy = nullptr, SpanSink* spans = nullptr);
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

  // VIDEO_NOT_FOUND from each of them, for another tenant's video too. OTHER_SERVER: another one makes it, and the
  // error's metadata has that one's addresses as "server" and "http_server", or no server does at the moment.
  absl::StatusOr<std::shared_ptr<Video>> Find(const Tenant& tenant, const std::string& name);
  absl::StatusOr<std::shared_ptr<Video>> Cancel(const Tenant& tenant, const std::string& name);
  // `done`: it is gone, also after a restart.
  void Delete(const Tenant& tenant, const std::string& name, std::function<void(const absl::Status&)> done);

  // Where the viewer of this id is; VIEWER_NOT_FOUND too. Returns when it should report again.
  absl::StatusOr<absl::Duration> ReportPlayback(const Tenant& tenant, const std::string& name,
                                                const std::string& viewer_id, absl::Duration position, bool paused);

  // The tenant's videos, those of other servers too. `token`: of the page before, or empty. InvalidRequest: a token
  // that is none, or a size below 0.
  absl::StatusOr<VideoPage> List(const Tenant& tenant, int page_size, const std::string& token) const;

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
  // Ends what is being made, if another server is there to go on with it.
  void HandOver(const absl::Status& why);
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
  // What was planned is described as it is stored, and goes on to the policy. `deadline`: by the studio's clock.
  void Describe(CreateRequest request, VideoPlan plan, absl::Duration deadline,
                std::function<void(absl::StatusOr<std::shared_ptr<Video>>)> done);
  // Calls `go_on` once the policy has allowed it, in this call or later, or `refuse` with what it says.
  void AskPolicy(PolicyQuestion question, std::function<void(const absl::Status&)> refuse, std::function<void()> go_on);
  // A request that may be made goes on to admission.
  void Admit(StoredVideo description, CallOrigin origin, SharedBlocks shared, absl::Duration deadline,
             std::function<void(absl::StatusOr<std::shared_ptr<Video>>)> done);
  void Restore();
  // Reads a video of the store; LogUnreadable where it cannot be read.
  struct Found {
    StoredVideo video;
    std::optional<StoredEnd> end;
  };
  absl::StatusOr<Found> Read(const std::string& name) const;
  VideoInfo InfoOf(const Found& found) const;
  absl::StatusOr<VideoPage> ListShared(const Tenant& tenant, int page_size, const std::string& token) const;
  // The other server that owns it and works; nothing: there is none.
  absl::StatusOr<std::optional<Registry::Owner>> OtherOwnerOf(const std::string& name) const;
  // `error`: with which it ended here. OTHER_SERVER: that is what the store has of a video that could not be stored as
  // a whole, and the server that has all of it works.
  absl::Status CheckWhole(const std::string& name, const absl::Status& error) const;
  // OTHER_SERVER or VIDEO_NOT_FOUND of a video of which the store has nothing, or says nothing.
  absl::Status FindUnstored(const Tenant& tenant, const std::string& name) const;
  // The video of the store that another server has made or makes.
  absl::StatusOr<std::shared_ptr<Video>> FindElsewhere(const Tenant& tenant, const std::string& name);
  // The video that the request id has asked for, as `find` finds it in the library; nothing: the id is new. One that
  // another server has accepted is brought into the library before, where it has ended. OTHER_SERVER: that one makes
  // it.
  using FindHere = std::function<absl::StatusOr<std::shared_ptr<Video>>()>;
  absl::StatusOr<std::shared_ptr<Video>> FindRequest(const Tenant& tenant, const std::string& request_id,
                                                     const FindHere& find);
  // Finds the video that the registry has for a request id. NotFound: there is no such video any more.
  absl::Status FindClaimed(const Tenant& tenant, const std::string& video);
  // Makes a video that is asked for this server's. The token of its writes; 0: its request id asked for another one
  // before, which is in the library. OTHER_SERVER: which is elsewhere.
  absl::StatusOr<uint64_t> Claim(const StoredVideo& asked);
  // It is not to be made.
  void GiveUp(const Video& video);
  // Gives up what others have taken, and takes what others have left.
  void Adopt();
  void TakeOver(const std::string& name);
  // OTHER_MODEL: what is made of the video from now on would not fit to what there is of it.
  absl::Status CheckNumerics(const StoredVideo& video) const;
  void LogUnreadable(const std::string& name, const absl::Status& why) const;
  // `token`: of its writes, of one that goes on. The video, if it is in the library then.
  std::shared_ptr<Video> RestoreOne(const Found& found, uint64_t token);
  void Forget(
      const std::shared_ptr<Video>& video, std::function<void()> done = [] {});
  void RemoveExpired();
  // Brings what other servers have made into the library, some of it with each call, and takes out what they have
  // removed. False: the store cannot be listed.
  bool KnowAllEnded();
  void Loop();  // thread_'s

  const StudioOptions options_;
  const SerializerFor serializer_for_;
  const scheduler::Clock* const clock_;
  Metrics* const metrics_;
  spdlog::logger* const logger_;
  const Storage storage_;
  Policy* const policy_;
  Library library_;
  Production production_;
  std::shared_ptr<const Metrics::Sources> sources_;
  // The last time that Tick called the videos', looked at the slacks, looked for videos that have expired, and for
  // those that other servers have left.
  absl::Duration ticked_, sampled_, expired_;
  absl::Duration adopted_;
  uint64_t lapses_ = 0;               // of the registry's, that Adopt knows
  std::set<std::string> unreadable_;  // stored videos of which KnowAllEnded has said so

  Mutex mutex_;
  ConditionVariable closed_;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
  PictureReader pictures_;  // last: what waits for it is answered while the rest is there
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_STUDIO_H_
