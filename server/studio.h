// Everything behind the RPCs: the engine with its scheduler, the encoders, and the videos being made. Knows no gRPC.
#ifndef LONGTAKE_SERVER_STUDIO_H_
#define LONGTAKE_SERVER_STUDIO_H_

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/worker_pool.h"
#include "engine/engine.h"
#include "scheduler/scheduler.h"
#include "server/engine_device.h"
#include "server/metrics.h"
#include "server/quote_correction.h"
#include "server/request.h"
#include "server/studio_options.h"
#include "server/video.h"
#include "spdlog/logger.h"

namespace longtake::server {

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

  CheckedRequest Check(const v1::GenerateRequest& request, Purpose purpose) const;
  const StudioOptions& options() const { return options_; }
  v1::Model model() const { return Describe(engine_->model(), options_.max_prompt_bytes); }

  // What Begin would promise now, or why it would refuse. Keeps nothing.
  scheduler::Quote GetQuote(const VideoPlan& plan) const;

  // Begins a video; its events go to `sink`, `accepted` first. Returns the video's id. ResourceExhausted or
  // Unavailable: refused, nothing has been sent; `refused_with`, where given, is what was found then.
  absl::StatusOr<uint64_t> Begin(VideoPlan plan, std::shared_ptr<EventSink> sink,
                                 scheduler::Quote* refused_with = nullptr);

  // From a block on, the video shows another prompt. InvalidArgument: see `errors`. NotFound: no video of
  // that id and tenant is being made. FailedPrecondition: no block is left to begin.
  absl::StatusOr<v1::PromptChanged> ChangePrompt(uint64_t id, const std::string& tenant, const v1::PromptChange& change,
                                                 std::vector<FieldError>& errors);

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
  // `predicted`: the first chunk's seconds by pass times alone; infinite before they are known, and of offline
  // requests.
  scheduler::Quote MakeQuote(const VideoPlan& plan, double& predicted) const;
  scheduler::Request MakeRequest(uint64_t id, const VideoPlan& plan) const;
  std::string ScheduledTenant(const std::string& tenant);
  void EndLongWaits();
  void GiveUpReaders();
  Metrics::Viewers viewers() const;
  void Poll();  // poller_'s

  const StudioOptions options_;
  const std::unique_ptr<Engine> engine_;
  const MonotonicClock* const clock_;
  Metrics* const metrics_;
  spdlog::logger* const logger_;
  QuoteCorrection correction_;
  EngineDevice device_;
  std::unique_ptr<WorkerPool> encoders_;

  // Held from a quote to the request's entry, so that nobody comes between them and the quote holds.
  std::mutex admission_ ABSL_ACQUIRED_BEFORE(mutex_);
  mutable std::mutex mutex_;
  std::set<std::string> tenants_ ABSL_GUARDED_BY(admission_);
  std::condition_variable changed_;  // a video has ended, or closing
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t last_id_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<uint64_t, std::shared_ptr<Video>> videos_ ABSL_GUARDED_BY(mutex_);
  // Of ended videos whose clients may still be reading, and until when they may; in that order.
  struct Reader {
    absl::Duration until;
    std::weak_ptr<EventSink> sink;
  };
  std::deque<Reader> readers_ ABSL_GUARDED_BY(mutex_);

  std::shared_ptr<const Metrics::Sources> sources_;
  std::thread poller_;
  std::unique_ptr<scheduler::Scheduler> scheduler_;  // last, so destroyed first: its passes use all of the above
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_STUDIO_H_
