#include "server/video/quote_correction.h"

#include <algorithm>

namespace longtake::server {
namespace {

// Until so many are known, a factor as large as quotes may be on average.
constexpr size_t kFew = 16;
constexpr double kUnknown = 1.5;
// What is off by more has other reasons than those (a machine that stood still), and would spoil all promises after it.
constexpr double kLargest = 3;
// The way to the client and back, which the server does not see, and one in 257 that is worse than those known.
constexpr double kBeyond = 1.05;
// What scatters however short the prediction is: passes of others under way, threads that get their turn. Without it
// the shortest quotes decide the factor of all (0.1 s and 1 s on two cores: 1.45 x what came, with it 1.32).
constexpr double kScatter = 0.05;

}  // namespace

double QuoteCorrection::Promise(double predicted) const {
  const std::lock_guard lock(mutex_);
  double factor = factors_.empty() ? kUnknown : *std::max_element(factors_.begin(), factors_.end());
  if (observed_ < kFew) factor = std::max(factor, kUnknown);
  return (predicted + delivery_ + kScatter) * factor * kBeyond;
}

double QuoteCorrection::Confidence() const {
  const std::lock_guard lock(mutex_);
  return static_cast<double>(kept_ + 1) / static_cast<double>(observed_ + 2);
}

void QuoteCorrection::Observe(double predicted, double promised, double decoded, double delivered) {
  const std::lock_guard lock(mutex_);
  kept_ += delivered <= promised;
  // The factor is that of the promise which was made, so the mean before this one.
  if (observed_ > 0) {
    const double factor = std::min(kLargest, delivered / (predicted + delivery_ + kScatter));
    if (factors_.size() < kWindow) {
      factors_.push_back(factor);
    } else {
      factors_[observed_ % kWindow] = factor;
    }
  }
  ++observed_;
  delivery_ += (delivered - decoded - delivery_) * std::max(1.0 / 32, 1.0 / static_cast<double>(observed_));
}

}  // namespace longtake::server
