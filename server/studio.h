// Everything behind the RPCs: the engine with its scheduler, the encoders, and the videos being made. Knows no gRPC.
#ifndef LONGTAKE_SERVER_STUDIO_H_
#define LONGTAKE_SERVER_STUDIO_H_

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
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

  // As CheckRequest.
  absl::StatusOr<VideoPlan> Check(const VideoSpec& spec, const DeliveryOptions& options, std::vector<FieldError> errors,
                                  Purpose purpose) const;
  const StudioOptions& options() const { return options_; }
  const ModelInfo& model() const { return engine_->model(); }

  // What Begin would promise now; its status says why it would refuse. Keeps nothing.
  scheduler::Quote GetQuote(const VideoPlan& plan) const;

  // Begins a video; its events go to `sink`, `accepted` first. Returns its name. An error: refused; what has been sent
  // by then is void. `deadline`: the whole video is wanted by then, from now on.
  absl::StatusOr<std::string> Begin(VideoPlan plan, const std::string& request_id, absl::Duration deadline,
                                    std::shared_ptr<EventSink> sink);

  // From a block on, a video shows another prompt. `errors`: what was found before.
  struct Receipt {
    int prompt = 0, block = 0;
    absl::Duration pts;
  };
  absl::StatusOr<Receipt> ChangePrompt(const std::string& name, const PromptChange& change,
                                       std::vector<FieldError> errors);

  // The client is gone.
  void Abandon(const std::string& name);

  void StopAdmission(const absl::Status& why) { scheduler_->StopAdmission(why); }
  void EndAll(const absl::Status& why) { scheduler_->CancelAll(why); }
  scheduler::Stats stats() const { return scheduler_->stats(); }

  void OnWaiting(scheduler::SessionId id, int position) override;
  void OnAdmitted(scheduler::SessionId id) override;
  void OnPass(scheduler::SessionId id, const scheduler::PassReport& report) override;
  void OnBlock(scheduler::SessionId id, int block) override;
  void OnEnded(scheduler::SessionId id, const absl::Status& why) override;

 private:
  std::shared_ptr<Video> Find(uint64_t id) const;
  std::shared_ptr<Video> Find(const std::string& name) const;
  // `predicted`: the first chunk's seconds by pass times alone; infinite before they are known, and of offline
  // requests.
  scheduler::Quote MakeQuote(const VideoPlan& plan, double& predicted) const;
  scheduler::Request MakeRequest(uint64_t id, const VideoPlan& plan) const;
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
  std::condition_variable changed_;  // a video has ended, or closing
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t last_id_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<uint64_t, std::shared_ptr<Video>> videos_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, uint64_t> ids_ ABSL_GUARDED_BY(mutex_);  // by name
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
