// Everything behind the RPCs: the engine with its scheduler, the encoders, and the videos being made. Knows no gRPC.
#ifndef LONGTAKE_SERVER_STUDIO_H_
#define LONGTAKE_SERVER_STUDIO_H_

#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "engine/engine.h"
#include "scheduler/scheduler.h"
#include "server/engine_device.h"
#include "server/metrics.h"
#include "server/request.h"
#include "server/video.h"
#include "server/worker_pool.h"
#include "spdlog/logger.h"

namespace longtake::server {

struct StudioOptions {
  int max_sessions = 4;  // places on the engine
  int max_waiting = 16;
  int max_batch_passes = 64;  // of one Submit
  int max_undelivered_chunks = 2;
  absl::Duration lead = absl::Seconds(30);       // of a live video over its viewer; then it rests until 3/4 of it
  absl::Duration max_unread = absl::Minutes(2);  // a client that reads nothing for so long is given up
  int encoder_threads = 2;
  int max_prompt_bytes = 4096;
  int64_t max_part_bytes = 3'500'000;
};

class MonotonicClock : public scheduler::Clock {
 public:
  absl::Duration Now() const override;
};

class Studio : public scheduler::Listener {
 public:
  // `clock`, `metrics` and `logger` outlive it.
  Studio(const StudioOptions& options, std::unique_ptr<Engine> engine, const MonotonicClock* clock, Metrics* metrics,
         spdlog::logger* logger);
  ~Studio() override;  // ends what is still being made, and waits for the passes under way

  CheckedRequest Check(const v1::GenerateRequest& request) const;
  v1::Model model() const { return Describe(engine_->model(), options_.max_prompt_bytes); }

  // Begins a video; its events go to `sink`, `accepted` first. ResourceExhausted or Unavailable: refused, the sink must
  // be thrown away, for it holds events of a video that is not made. Returns the video's id.
  absl::StatusOr<uint64_t> Begin(VideoPlan plan, std::shared_ptr<EventSink> sink);

  // The client is gone.
  void Abandon(uint64_t id);

  void StopAdmission(const absl::Status& why) { scheduler_->StopAdmission(why); }
  void EndAll(const absl::Status& why) { scheduler_->CancelAll(why); }
  scheduler::Stats stats() const { return scheduler_->stats(); }

  void OnWaiting(scheduler::SessionId id, int position) override;
  void OnAdmitted(scheduler::SessionId id) override;
  void OnPass(scheduler::SessionId id, const scheduler::PassReport& report) override;
  void OnBlock(scheduler::SessionId id, int block) override;
  void OnEnded(scheduler::SessionId id, const absl::Status& status) override;

 private:
  std::shared_ptr<Video> Find(uint64_t id) const;
  void Poll();  // poller_'s

  const StudioOptions options_;
  const std::unique_ptr<Engine> engine_;
  const MonotonicClock* const clock_;
  Metrics* const metrics_;
  spdlog::logger* const logger_;
  EngineDevice device_;
  std::unique_ptr<WorkerPool> encoders_;

  mutable absl::Mutex mutex_;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t last_id_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<uint64_t, std::shared_ptr<Video>> videos_ ABSL_GUARDED_BY(mutex_);

  std::shared_ptr<const Metrics::Sources> sources_;
  std::thread poller_;
  std::unique_ptr<scheduler::Scheduler> scheduler_;  // last, so destroyed first: its passes use all of the above
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_STUDIO_H_
