#include "server/access/usage.h"

#include <algorithm>

namespace longtake::server {

std::optional<absl::Duration> CallBucket::Take(absl::Duration now, double a_second) {
  const double most = std::max(1.0, a_second);
  tokens_ = std::min(most, tokens_ + absl::ToDoubleSeconds(now - filled_) * a_second);
  filled_ = now;
  // Rounding may leave a billionth of a token missing when the time that was named has passed.
  if (tokens_ < 1 - 1e-6) return absl::Seconds((1 - tokens_) / a_second);
  tokens_ -= 1;
  return std::nullopt;
}

void UsedToday::Add(absl::Duration now, double seconds) {
  const int64_t hour = HourOf(now);
  if (hour - hour_ >= kHours) hours_.fill(0);
  for (; hour_ < hour; ++hour_) hours_[(hour_ + 1) % kHours] = 0;
  hours_[hour_ % kHours] += seconds;
}

double UsedToday::Sum(absl::Duration now) const {
  double sum = 0;
  for (int64_t hour = std::max(hour_, HourOf(now)) - kHours + 1; hour <= hour_; ++hour) sum += At(hour);
  return sum;
}

absl::Duration UsedToday::UntilBelow(absl::Duration now, double limit) const {
  double sum = Sum(now);
  if (sum < limit) return absl::ZeroDuration();
  if (limit <= 0) return absl::InfiniteDuration();
  int64_t hour = std::max(hour_, HourOf(now)) - kHours + 1;  // the oldest ends first
  for (; hour < hour_; ++hour) {
    sum -= At(hour);
    if (sum < limit) break;
  }
  return absl::Hours(hour + kHours) - now;
}

std::vector<std::pair<int64_t, double>> UsedToday::Hours(absl::Duration now) const {
  std::vector<std::pair<int64_t, double>> hours;
  for (int64_t hour = std::max(hour_, HourOf(now)) - kHours + 1; hour <= hour_; ++hour) {
    if (At(hour) > 0) hours.emplace_back(hour, At(hour));
  }
  return hours;
}

}  // namespace longtake::server
