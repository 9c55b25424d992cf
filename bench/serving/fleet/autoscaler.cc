#include "bench/serving/fleet/autoscaler.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace longtake::bench {
namespace {

bool Within(double ratio) { return ratio >= 1 - kTolerance && ratio <= 1 + kTolerance; }

// Kubernetes counts in whole thousandths, so that what is exact by hand is exact there.
int64_t Milli(double value) { return std::llround(1000 * value); }

// The mean of so many values over the target, the mean rounded down.
double Ratio(int64_t sum, int64_t count, double target) {
  const int64_t mean = sum / count;
  return static_cast<double>(mean) / static_cast<double>(Milli(target));
}

int Ceil(double pods) { return static_cast<int>(std::ceil(pods)); }

}  // namespace

ScalingOptions ManifestScaling() {
  using Kind = ScalingPolicy::Kind;
  return {.least = 2,
          .most = 8,
          .up = {.window = 0, .policies = {{Kind::kPercent, 100, 60}}},
          .down = {.window = 600, .policies = {{Kind::kPods, 1, 300}}}};
}

int PodsForTotal(double total, double target, int status_pods) {
  const double pods = static_cast<double>(Milli(total)) / static_cast<double>(Milli(target));
  return status_pods > 0 && Within(pods / status_pods) ? status_pods : Ceil(pods);
}

std::optional<int> PodsForValues(const PodValues& values, double target, double fallback, int pods) {
  if (values.known.empty()) return std::nullopt;
  int64_t sum = 0, count = static_cast<int64_t>(values.known.size());
  for (double value : values.known) sum += Milli(value);
  const double ratio = Ratio(sum, count, target);
  const bool up_with_unready = values.unready > 0 && ratio > 1;
  if (!up_with_unready && values.missing == 0) {
    return Within(ratio) ? pods : Ceil(ratio * static_cast<double>(count));
  }
  // What is not known is taken to speak against the change.
  if (ratio < 1) sum += values.missing * Milli(fallback);
  count += values.missing;
  if (up_with_unready) count += values.unready;
  const double careful = Ratio(sum, count, target);
  if (Within(careful) || (ratio < 1) != (careful < 1)) return pods;
  const int wanted = Ceil(careful * static_cast<double>(count));
  return (careful < 1) == (wanted < pods) ? wanted : pods;
}

int Autoscaler::Next(double now, int pods, std::optional<int> recommended) {
  int wanted = std::clamp(pods, options_.least, options_.most);
  if (wanted == pods) {
    if (!recommended.has_value()) return pods;
    wanted = Limit(now, pods, Stabilize(now, pods, *recommended));
  }
  if (wanted > pods) added_.push_back({now, wanted - pods});
  if (wanted < pods) removed_.push_back({now, pods - wanted});
  return wanted;
}

// Goes up no further than the least, and down no further than the most that was recommended within the windows.
int Autoscaler::Stabilize(double now, int pods, int recommended) {
  int low = recommended, high = recommended;
  for (const Event& past : recommendations_) {
    if (past.when > now - options_.up.window) low = std::min(low, past.pods);
    if (past.when > now - options_.down.window) high = std::max(high, past.pods);
  }
  const double oldest = now - std::max(options_.up.window, options_.down.window);
  std::erase_if(recommendations_, [&](const Event& past) { return past.when < oldest; });
  recommendations_.push_back({now, recommended});
  return std::min(std::max(pods, low), high);
}

int Autoscaler::Before(double now, double period, int pods) const {
  for (const Event& past : added_) pods -= past.when > now - period ? past.pods : 0;
  for (const Event& past : removed_) pods += past.when > now - period ? past.pods : 0;
  return pods;
}

int Autoscaler::Limit(double now, int pods, int wanted) const {
  const bool up = wanted > pods;
  if (wanted == pods) return pods;
  int limit = up ? std::numeric_limits<int>::min() : std::numeric_limits<int>::max();
  for (const ScalingPolicy& policy : (up ? options_.up : options_.down).policies) {
    const int before = Before(now, policy.period, pods);
    const double change = policy.kind == ScalingPolicy::Kind::kPods ? policy.value : before * policy.value / 100.0;
    // Up is rounded up, so that one pod can grow by half; down is rounded down.
    limit = up ? std::max(limit, Ceil(before + change)) : std::min(limit, static_cast<int>(before - change));
  }
  return up ? std::min({wanted, std::max(limit, pods), options_.most})
            : std::max({wanted, std::min(limit, pods), options_.least});
}

}  // namespace longtake::bench
