// Private to scheduler/: one lane of one device, with its batches under way and what is known of its times.
#ifndef LONGTAKE_SCHEDULER_LANE_H_
#define LONGTAKE_SCHEDULER_LANE_H_

#include <algorithm>
#include <deque>
#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "scheduler/cost_model.h"
#include "scheduler/device.h"
#include "scheduler/quantiles.h"

namespace longtake::scheduler {

class Lane {
 public:
  struct Batch {
    std::vector<Pass> passes;
    Work work;
    std::vector<double> seconds;  // predicted for each pass alone
    bool turn = false;            // it begins with a pass that had waited for its turn
    // What admission counts for its live passes, and for the others what they add; seconds. 0: it has no live pass.
    double counted = 0;
    // Kept by the lane.
    absl::Duration submitted;
    double predicted = 0;  // seconds; 0: not known
    size_t left = 0;       // passes not done
  };

  Lane(LaneId id, const LaneInfo& info) : id_(id), info_(info) {}

  LaneId id() const { return id_; }
  const LaneInfo& info() const { return info_; }
  const CostModel& cost() const { return cost_; }
  bool learned() const { return cost_.learned(info_.role); }
  // Takes over what a lane of the same role on another device has learned, where this one has not.
  void LearnFrom(const Lane& other);

  uint64_t batches() const { return batches_; }  // submitted so far
  int passes_in_flight() const;
  bool idle() const { return under_way_.empty(); }

  // The moment from which another batch may be composed: in the past where the lane is idle, shortly before the running
  // batch can end where only that one is under way, infinite where two are.
  absl::Duration NextBatchAt() const;
  // Whether a pass that has waited for its turn may begin the next batch.
  bool MayTakeTurn() const;

  // The batch goes to the device. Returns its number, from 1.
  std::shared_ptr<Batch> Begin(Batch batch, absl::Duration now);
  // One of the batch's passes is done; true where it was the last one.
  bool PassDone(Batch& batch, absl::Duration now);

  // Seconds from now until what is under way is done: the safe quantile of the running batch.
  double Remaining(absl::Duration now) const;
  // How many times what admission counts for live streams they really take, to be safe; at least 1.
  double LoadError() const { return std::max(1.0, load_error_.At(tuning::kSafeQuantile, tuning::kUnknownLoad)); }

 private:
  absl::Duration Began() const;  // of the running batch
  void Observe(const Batch& batch, double seconds, bool back_to_back);

  const LaneId id_;
  const LaneInfo info_;
  CostModel cost_;
  std::deque<std::shared_ptr<Batch>> under_way_;  // oldest first
  absl::Duration last_done_ = -absl::InfiniteDuration();
  uint64_t batches_ = 0;
  double busy_seconds_ = 0, turn_seconds_ = 0;
  Quantiles batch_error_;  // of batches: actual over predicted time
  Quantiles load_error_;   // of sums of kLoadBatches batches: actual time over what admission counts
  double load_actual_ = 0, load_counted_ = 0;
  int load_batches_ = 0;
};

}  // namespace longtake::scheduler

#endif  // LONGTAKE_SCHEDULER_LANE_H_
