// The engine with its scheduler, and the videos that are being made on them. What is particular to the scheduler's
// interface stays in this file.
#ifndef LONGTAKE_SERVER_VIDEO_PRODUCTION_H_
#define LONGTAKE_SERVER_VIDEO_PRODUCTION_H_

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/mutex.h"
#include "common/worker_pool.h"
#include "engine/engine.h"
#include "scheduler/scheduler.h"
#include "server/store/storage.h"
#include "server/telemetry/metrics.h"
#include "server/video/accounts.h"
#include "server/video/device_watch.h"
#include "server/video/engine_device.h"
#include "server/video/library.h"
#include "server/video/request.h"
#include "server/video/studio_options.h"
#include "server/video/video.h"
#include "server/video/video_host.h"
#include "server/video/video_spans.h"
#include "spdlog/logger.h"

namespace longtake::server {

class Production : public scheduler::Listener, public VideoHost {
 public:
  // All pointers outlive it.
  Production(const StudioOptions& options, std::unique_ptr<Engine> engine, const scheduler::Clock* clock,
             Metrics* metrics, spdlog::logger* logger, Library* library, Storage storage, Accounts* accounts,
             SpanSink* spans);
  ~Production() override;  // ends what is still being made, and waits for the passes under way

  const Engine& engine() const { return *engine_; }
  Accounts* accounts() { return accounts_; }
  WorkerPool* encoders() { return encoders_.get(); }
  uint64_t NewId();

  // What Enter would promise now; its status says why it would refuse. Keeps nothing. `done` comes on the scheduler's
  // loop.
  void GetQuote(const Tenant& tenant, const VideoPlan& plan, std::function<void(const scheduler::Quote&)> done) const;

  // Accepts or refuses the video, which is told so on the scheduler's loop, before any event of it. One that goes on
  // from the store was accepted before: where it is refused now, it ends.
  // `deadline`: all of it is wanted by then, from now on.
  void Enter(const std::shared_ptr<Video>& video, absl::Duration deadline);

  struct Place {
    int prompt = 0, block = 0;
  };
  // From `block` on, or from the first later one of which nothing has begun, the video has another prompt; the answer
  // says from where, and its number. VIDEO_ENDED, NO_BLOCK_LEFT or TOO_MANY_PROMPTS: nothing has changed.
  void ChangePrompt(const std::shared_ptr<Video>& video, int block, const std::string& prompt,
                    std::function<void(const absl::StatusOr<Place>&)> done);

  void StopAdmission(const absl::Status& why) { scheduler_->StopAdmission(why); }
  void EndAll(const absl::Status& why) { scheduler_->CancelAll(why); }
  // One of the store's that cannot go on: it ends.
  void End(const std::shared_ptr<Video>& video, const absl::Status& why);
  // Videos that are being made or wait for their place, and those whose log is not closed yet.
  bool has_sessions() const;
  DeviceHealth device_health() const { return device_watch_.health(); }
  scheduler::Stats stats() const { return scheduler_->stats(); }

  void OnWaiting(scheduler::SessionId id, int position) override;
  void OnAdmitted(scheduler::SessionId id) override;
  void OnPass(scheduler::SessionId id, const scheduler::PassReport& report) override;
  void OnBlock(scheduler::SessionId id, int block) override;
  void OnEnded(scheduler::SessionId id, const absl::Status& why) override;

  void Cancel(uint64_t id, const absl::Status& why) override;
  void Delivered(uint64_t id, absl::Duration until) override;
  void Consumed(uint64_t id, absl::Duration position, bool paused) override;
  void OnFirstChunk(const Video& video, absl::Duration elapsed) override;
  void OnBlockMade(const Video& video, const BlockReport& report) override;
  void OnChunkSent(const SentChunk& chunk) override;
  void OnViewerLeft(std::optional<ViewerOutcome> outcome, int stalls) override;
  void OnStoreFailed(const Video& video, const absl::Status& why) override;
  void OnForgotten(Video& video) override;
  void OnGrown(int64_t bytes) override { library_->Grow(bytes); }
  void OnClosed(Video& video) override;

 private:
  std::shared_ptr<Video> Find(uint64_t id) const;
  // What the engine can go on with: nothing where it cannot read it, as where another version has written it.
  StoredCheckpoint TakeCheckpoint(Video& video, const SessionSpec& session) const;
  // The plan's session, with its first image decoded. An error: the picture that is kept is damaged.
  static absl::StatusOr<SessionSpec> SessionOf(const VideoPlan& plan);
  scheduler::Request MakeRequest(uint64_t id, const Tenant& tenant, const VideoPlan& plan) const;
  // Null where nothing is stored.
  decltype(EngineDevice::Job::on_checkpoint) OnCheckpoint(const std::shared_ptr<Video>& video) const;
  // Of a video that goes on, and of a fork.
  std::vector<int> MadeLevels(const Video& video) const;
  void Remove(uint64_t id);

  const StudioOptions options_;
  const std::unique_ptr<Engine> engine_;
  Metrics* const metrics_;
  spdlog::logger* const logger_;
  Library* const library_;
  const Storage storage_;
  Accounts no_accounts_;
  Accounts* const accounts_;
  const VideoSpans spans_;
  DeviceWatch device_watch_;
  EngineDevice device_;
  std::unique_ptr<WorkerPool> encoders_;

  mutable Mutex mutex_;
  ConditionVariable ended_;
  uint64_t last_id_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<uint64_t, std::shared_ptr<Video>> sessions_ ABSL_GUARDED_BY(mutex_);

  scheduler::Loop loop_;
  std::unique_ptr<scheduler::Scheduler> scheduler_;  // last, so destroyed first: its passes use all of the above
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_PRODUCTION_H_
