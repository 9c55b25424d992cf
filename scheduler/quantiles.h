// Private to scheduler/: what was measured last, and its quantiles.
#ifndef LONGTAKE_SCHEDULER_QUANTILES_H_
#define LONGTAKE_SCHEDULER_QUANTILES_H_

#include <cstddef>
#include <vector>

#include "scheduler/tuning.h"

namespace longtake::scheduler {

// The last `window` values of a measured quantity, none of them NaN. Exact. A value moves half of the window in memory
// (1 KB of the usual one), a quantile costs nothing.
class Quantiles {
 public:
  explicit Quantiles(size_t window = tuning::kWindow) : window_(window) {}

  void Add(double value);
  size_t size() const { return values_.size(); }

  // The least of the values that at least `share` of them do not exceed, 0 < share <= 1. There must be a value.
  double At(double share) const;
  // The same, or `unknown` while there are fewer than tuning::kFew values.
  double At(double share, double unknown) const { return size() < tuning::kFew ? unknown : At(share); }

 private:
  const size_t window_;
  size_t oldest_ = 0;           // of a full window
  std::vector<double> values_;  // a ring once it is full
  std::vector<double> sorted_;  // the same
};

}  // namespace longtake::scheduler

#endif  // LONGTAKE_SCHEDULER_QUANTILES_H_
