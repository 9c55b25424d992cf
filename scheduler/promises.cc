#include "scheduler/promises.h"

#include <algorithm>

#include "scheduler/tuning.h"

namespace longtake::scheduler {

double Promises::Expected(absl::Duration predicted) const {
  return absl::ToDoubleSeconds(predicted + tuning::kFirstChunkScatter) + deliveries_.At(0.5, 0);
}

absl::Duration Promises::Promise(absl::Duration predicted, bool waits) const {
  double factor = 0;
  if (factors_.size() > 0) {
    const double late = factors_.At(tuning::kPromiseQuantile);
    factor = late + (late - factors_.At(tuning::kPromiseTailFrom));
  }
  if (waits || factors_.size() < tuning::kFewPromises) factor = std::max(factor, tuning::kUnknownFirstChunk);
  return std::max(tuning::kLeastPromise, absl::Seconds(Expected(predicted) * factor * tuning::kFirstChunkBeyond));
}

void Promises::Given(SessionId id, absl::Duration now, absl::Duration predicted, absl::Duration promised) {
  open_[id] = {.given = now, .predicted = predicted, .promised = promised};
}

void Promises::Decoded(SessionId id, absl::Duration now) {
  if (const auto found = open_.find(id); found != open_.end()) found->second.decoded = now;
}

void Promises::Observe(const Open& open, absl::Duration took) {
  ++given_;
  kept_ += took <= open.promised;
  const double factor = absl::ToDoubleSeconds(took) / Expected(open.predicted);
  factors_.Add(std::min(factor, tuning::kFarOffFirstChunk));
}

void Promises::Delivered(SessionId id, absl::Duration now) {
  const auto found = open_.find(id);
  if (found == open_.end()) return;
  const Open& open = found->second;
  const absl::Duration decoded = open.decoded.value_or(now);
  // What goes far beyond the usual is the client's line, not encoding and sending.
  const absl::Duration usual = absl::Seconds(2 * deliveries_.At(0.5, 0)) + tuning::kFirstChunkScatter;
  deliveries_.Add(absl::ToDoubleSeconds(now - decoded));
  Observe(open, decoded - open.given + std::min(now - decoded, usual));
  open_.erase(found);
  std::erase(made_, id);
}

void Promises::Ended(SessionId id, absl::Duration now, bool whole) {
  const auto found = open_.find(id);
  if (found == open_.end()) return;
  if (whole) {
    // A viewer who is never sent its chunk has gone; only so many are waited for.
    made_.push_back(id);
    if (made_.size() <= tuning::kWindow) return;
    open_.erase(made_.front());
    made_.pop_front();
    return;
  }
  if (const absl::Duration took = now - found->second.given; took > found->second.promised) {
    Observe(found->second, took);
  }
  open_.erase(found);
}

}  // namespace longtake::scheduler
