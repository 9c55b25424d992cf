// One or several devices and the encoders beside them, in simulated time.
#ifndef LONGTAKE_BENCH_SERVING_MACHINE_H_
#define LONGTAKE_BENCH_SERVING_MACHINE_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <random>
#include <unordered_map>
#include <vector>

#include "bench/serving/event_loop.h"
#include "bench/serving/pass_table.h"
#include "scheduler/scheduler.h"

namespace longtake::bench {

enum class Lanes {
  kOne,          // a lane for all passes, one after the other
  kBarrier,      // the same, but a batch's decodes run beside its other passes; the next batch waits for both
  kOverlapping,  // a lane for decodes and one for the rest, each with its own batches
};

// Batches and encodings take what a table says times what is typical of the moment (PassTable::noise), longer while
// they compete.
class Machine : public scheduler::Device {
 public:
  Machine(const PassTable* table, EventLoop* loop, int devices, Lanes lanes, int encoders, uint64_t seed);

  // What the session's passes are about; before its first. `blocks`: latent frames of each. `made`: blocks that were
  // finished elsewhere.
  void SetJob(size_t session, double scale, std::vector<int> blocks, int made = 0);

  std::vector<scheduler::LaneInfo> lanes() const override { return lane_infos_; }
  absl::Status Open(scheduler::SessionId, scheduler::DeviceId) override { return absl::OkStatus(); }
  void Close(scheduler::SessionId session) override { jobs_.erase(Number(session)); }
  // Of a session that goes on: it takes no time. What it does take has not been measured.
  void Resume(scheduler::SessionId, scheduler::DeviceId, Done done) override { done(absl::OkStatus()); }
  void Submit(scheduler::LaneId lane, std::vector<scheduler::Pass> passes, PassDone done) override;

  // `seconds` of encoding for the session, behind what it has; sessions share the threads in turn.
  void Encode(size_t session, double seconds, std::function<void()> done);

  // Of all devices, or lanes where they overlap: the busiest one's share of the time so far counts.
  double busy_seconds() const;
  // What a container's CPU use shows, as time of all cores: the engine keeps all of them busy while it works, and an
  // encoder one. Of a machine whose engine runs on a GPU it is the time in which anything is at work.
  double used_seconds() const { return used_; }
  uint64_t batches() const { return batches_; }
  uint64_t passes() const { return passes_; }

 private:
  struct Job {
    double scale = 1;
    std::vector<int> blocks;
    int committed = 0, decoded = 0;  // blocks, latent frames
  };
  // Passes that end together.
  struct Piece {
    double left = 0;   // seconds at full speed
    double began = 0;  // when it came to be the stream's first
    std::vector<size_t> passes;
  };
  struct Batch {
    std::deque<Piece> decoder, transformer;
    std::shared_ptr<PassDone> done;
  };
  // What runs one piece after the other.
  struct Stream {
    std::deque<Piece> pieces;
    double busy = 0;
  };
  struct Lane {
    int device = 0;
    std::deque<Batch> waiting;
    std::shared_ptr<PassDone> done;  // of the batch under way
    std::vector<Stream> streams;
  };
  struct Encoding {
    double work = 0;
    std::function<void()> done;
  };
  struct Encoder {
    bool busy = false;
    size_t session = 0;
    double left = 0;
    std::function<void()> done;
  };

  double Noise(scheduler::LaneId lane);
  void Begin(Lane& lane);
  void BeginEncoding();
  // Everything under way gets its part of the time since the last call.
  void Advance();
  // Of a stream of the lane that is at work, while so many encoders are.
  double SpeedOf(const Lane& lane, int64_t encoding) const;
  // Asks for the moment at which something under way ends.
  void Reschedule();
  void EndDue();

  const PassTable& table_;
  EventLoop* const loop_;
  const Lanes kind_;
  std::vector<scheduler::LaneInfo> lane_infos_;
  std::vector<Lane> lanes_;
  std::vector<size_t> noise_at_;          // by lane
  std::unordered_map<size_t, Job> jobs_;  // by session
  std::vector<Encoder> encoders_;
  std::unordered_map<size_t, std::deque<Encoding>> encodings_;  // by session; only of those that have any
  std::deque<size_t> turn_;                                     // sessions with something to encode and no encoder
  double last_ = 0, used_ = 0;
  uint64_t asked_ = 0;  // the newest Reschedule; older ones no longer count
  bool ending_ = false;
  uint64_t batches_ = 0, passes_ = 0;
};

}  // namespace longtake::bench

#endif  // LONGTAKE_BENCH_SERVING_MACHINE_H_
