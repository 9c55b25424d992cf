// One server in simulated time: the scheduler itself, with the server's settings, over a machine and an encoder pool
// that are simulated.
#ifndef LONGTAKE_BENCH_SERVING_SIMULATED_SERVER_H_
#define LONGTAKE_BENCH_SERVING_SIMULATED_SERVER_H_

#include <array>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "bench/serving/event_loop.h"
#include "bench/serving/machine.h"
#include "bench/serving/pass_table.h"
#include "bench/serving/trace.h"
#include "common/pass_kind.h"
#include "scheduler/policy.h"
#include "scheduler/scheduler.h"
#include "server/video/studio_options.h"

namespace longtake::bench {

struct SimulatedServerOptions {
  // As the server's. `max_sessions` is of each device; below 1: as many as the table's device holds.
  server::StudioOptions studio = {.max_sessions = 0};
  int devices = 1;
  Lanes lanes = Lanes::kOne;
  uint64_t seed = 1;  // of the machine's noise
};

// Videos are known by their visitors' numbers.
class SimulatedServer : public scheduler::Listener {
 public:
  // Told what becomes of the videos. It may call the server, but Enter.
  class Watcher {
   public:
    virtual ~Watcher() = default;
    // The video's latent frame of this number is encoded; it is a chunk.
    virtual void OnEncoded(size_t visitor, int latent, bool block_done) = 0;
    // Once for each request that was accepted. OK: everything is decoded; what is not encoded yet will be.
    virtual void OnEnded(size_t visitor, const absl::Status& status) = 0;
  };

  // What is pointed to outlives it. Before it is destroyed nothing may be under way: busy() is false.
  SimulatedServer(const PassTable* table, EventLoop* loop, const SimulatedServerOptions& options,
                  std::shared_ptr<scheduler::Policy> policy, Watcher* watcher);

  // As the scheduler's entries. `made`: another server had accepted the request and finished so many of its blocks.
  scheduler::Quote Enter(size_t visitor, const Visitor& wants, std::optional<int> made = std::nullopt);
  scheduler::Quote GetQuote(size_t visitor, const Visitor& wants);
  void Delivered(size_t visitor, absl::Duration until) { scheduler_.Delivered(scheduler::SessionId{visitor}, until); }
  void Cancel(size_t visitor, absl::Status why) { scheduler_.Cancel(scheduler::SessionId{visitor}, std::move(why)); }
  void StopAdmission(absl::Status why) { scheduler_.StopAdmission(std::move(why)); }
  void CancelAll(absl::Status why) { scheduler_.CancelAll(std::move(why)); }
  scheduler::Stats stats() const { return scheduler_.stats(); }

  // When its timer is due, and everything that is ready by now.
  absl::Duration wake() const { return scheduler_loop_.wake(); }
  void RunReady() { scheduler_loop_.RunReady(); }

  // Videos that wait or are being made, and latent frames that are being encoded.
  int videos() const { return static_cast<int>(videos_.size()); }
  bool busy() const { return !videos_.empty() || encoding_ > 0; }

  const Machine& machine() const { return machine_; }
  // Device seconds of all passes of a kind, and how many they were; by PassKind.
  const std::array<double, kPassKinds.size()>& pass_seconds() const { return pass_seconds_; }
  const std::array<int, kPassKinds.size()>& pass_count() const { return pass_count_; }

  void OnWaiting(scheduler::SessionId, int) override {}
  void OnAdmitted(scheduler::SessionId) override {}
  void OnPass(scheduler::SessionId session, const scheduler::PassReport& report) override;
  void OnBlock(scheduler::SessionId, int) override {}
  void OnEnded(scheduler::SessionId session, const absl::Status& status) override;

 private:
  struct Video {
    double scale = 1;
    int decoded = 0;  // latent frames
  };

  scheduler::Request RequestOf(size_t visitor, const Visitor& wants) const;

  const PassTable& table_;
  Watcher* const watcher_;
  Machine machine_;
  std::unordered_map<size_t, Video> videos_;
  int encoding_ = 0;
  std::array<double, kPassKinds.size()> pass_seconds_ = {};
  std::array<int, kPassKinds.size()> pass_count_ = {};
  scheduler::Loop scheduler_loop_;
  scheduler::Scheduler scheduler_;
};

// Goes to the next event of the world, or to the next timer of a server if that is earlier, and lets the servers do
// what follows from it. False: there is nothing to come.
bool Step(EventLoop& loop, const std::vector<SimulatedServer*>& servers);

}  // namespace longtake::bench

#endif  // LONGTAKE_BENCH_SERVING_SIMULATED_SERVER_H_
