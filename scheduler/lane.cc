#include "scheduler/lane.h"

#include <algorithm>
#include <utility>

namespace longtake::scheduler {

void Lane::LearnFrom(const Lane& other) {
  if (learned() || !other.learned() || other.info_.role != info_.role) return;
  cost_ = other.cost_;
}

int Lane::passes_in_flight() const {
  size_t passes = 0;
  for (const std::shared_ptr<Batch>& batch : under_way_) passes += batch->left;
  return static_cast<int>(passes);
}

absl::Duration Lane::Began() const { return std::max(under_way_.front()->submitted, last_done_); }

absl::Duration Lane::NextBatchAt() const {
  if (under_way_.empty()) return -absl::InfiniteDuration();
  const Batch& running = *under_way_.front();
  if (under_way_.size() == tuning::kLaneDepth || running.predicted == 0) return absl::InfiniteDuration();
  const double earliest = running.predicted * batch_error_.At(tuning::kEarlyQuantile, tuning::kUnknownBatchEarly);
  return Began() + absl::Seconds(earliest) - tuning::kPrefetch;
}

bool Lane::MayTakeTurn() const { return turn_seconds_ <= tuning::kTurnShare * busy_seconds_; }

std::shared_ptr<Lane::Batch> Lane::Begin(Batch batch, absl::Duration now) {
  ++batches_;
  batch.submitted = now;
  batch.predicted = learned() ? cost_.Predict(batch.work) : 0;
  batch.left = batch.passes.size();
  return under_way_.emplace_back(std::make_shared<Batch>(std::move(batch)));
}

bool Lane::PassDone(Batch& batch, absl::Duration now) {
  if (--batch.left > 0) return false;
  const absl::Duration began = std::max(batch.submitted, last_done_);
  const bool back_to_back = batch.submitted <= last_done_ + tuning::kPrefetch;
  last_done_ = std::max(last_done_, now);
  std::erase_if(under_way_, [&](const std::shared_ptr<Batch>& other) { return other.get() == &batch; });
  Observe(batch, absl::ToDoubleSeconds(now - began), back_to_back);
  return true;
}

void Lane::Observe(const Batch& batch, double seconds, bool back_to_back) {
  busy_seconds_ += std::max(0.0, seconds);
  if (batch.turn) turn_seconds_ += seconds;
  cost_.Observe(batch.work, seconds);
  if (batch.predicted == 0 || !(seconds > 0)) return;
  batch_error_.Add(seconds / batch.predicted);
  // An idle lane's batches share less than admission counts with, because they need not.
  if (!back_to_back || batch.counted == 0) return;
  load_actual_ += seconds;
  load_counted_ += batch.counted;
  if (++load_batches_ < tuning::kLoadBatches) return;
  load_error_.Add(load_actual_ / load_counted_);
  load_actual_ = load_counted_ = 0;
  load_batches_ = 0;
}

double Lane::Remaining(absl::Duration now) const {
  if (under_way_.empty()) return 0;
  double seconds = absl::ToDoubleSeconds(Began() - now) +
                   under_way_.front()->predicted * batch_error_.At(tuning::kSafeQuantile, tuning::kUnknownBatch);
  seconds = std::max(0.0, seconds);
  for (size_t i = 1; i < under_way_.size(); ++i) seconds += under_way_[i]->predicted;
  return seconds;
}

}  // namespace longtake::scheduler
