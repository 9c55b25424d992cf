#include "scheduler/quantiles.h"

#include <algorithm>
#include <cmath>

namespace longtake::scheduler {

void Quantiles::Add(double value) {
  if (values_.size() < window_) {
    values_.push_back(value);
  } else {
    sorted_.erase(std::lower_bound(sorted_.begin(), sorted_.end(), values_[oldest_]));
    values_[oldest_] = value;
    oldest_ = (oldest_ + 1) % window_;
  }
  sorted_.insert(std::upper_bound(sorted_.begin(), sorted_.end(), value), value);
}

double Quantiles::At(double share) const {
  const double rank = std::ceil(share * static_cast<double>(sorted_.size())) - 1;
  return sorted_[static_cast<size_t>(std::max(0.0, rank))];
}

}  // namespace longtake::scheduler
