#include "bench/serving/trace.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <random>

namespace longtake::bench {
namespace {

// A third each: half, the whole and twice the pixels.
constexpr double kScales[] = {0.5, 1, 2};

}  // namespace

double SaturatedRate(const TraceOptions& options, const PassTable& table) {
  double seconds = 0;  // of the device, for a second of video of each size
  int sizes = 0;
  for (double scale : kScales) {
    if (!options.mixed_sizes && scale != 1) continue;
    seconds += table.BlockCost(scale) / table.block_seconds();
    ++sizes;
  }
  return sizes / seconds;
}

double LoadAt(const TraceOptions& options, double seconds) {
  if (options.arrivals == "wave") {
    return options.load * (1 - options.swing * std::cos(2 * std::numbers::pi * seconds / options.period));
  }
  const double since = seconds - options.peak_begin;
  return options.load * (since >= 0 && since < options.peak_seconds ? options.peak_factor : 1);
}

std::vector<Visitor> MakeTrace(const TraceOptions& options, const PassTable& table) {
  std::mt19937_64 random(options.seed);
  const auto uniform = [&] { return static_cast<double>(random() >> 11) * 0x1p-53; };
  const double longest = options.longest, shortest = options.shortest;
  const double mean_seconds = (longest - shortest) / std::log(longest / shortest);  // of a log-uniform length
  const double counted = options.live_share > 0 ? options.live_share : 1;
  const double rate = SaturatedRate(options, table) / mean_seconds / counted;  // arrivals a second at load 1
  const bool all = options.arrivals == "all";
  const double day = options.sessions / rate / 3;  // three waves in the trace; one, where it has a third of it
  double burst_until = 0, calm_until = 0;
  std::vector<Visitor> visitors;
  double now = 0;
  while (options.duration > 0 || static_cast<int>(visitors.size()) < options.sessions) {
    const size_t third = 3 * visitors.size() / options.sessions;
    const std::string kind = !all ? options.arrivals : third == 0 ? "poisson" : third == 1 ? "bursty" : "daily";
    const bool shaped = kind == "wave" || kind == "peak";
    // Thinning: candidates come at the highest rate there is, and stay with the share of it that holds at their moment.
    const double highest = kind == "bursty"  ? 3.0
                           : kind == "daily" ? 1.4
                           : kind == "wave"  ? 1 + options.swing
                           : kind == "peak"  ? std::max(1.0, options.peak_factor)
                                             : 1.0;
    now += -std::log1p(-uniform()) / (rate * highest);
    if (options.duration > 0 && now / options.load > options.duration) break;
    double share = 1;
    if (shaped) share = LoadAt(options, now / options.load) / options.load / highest;
    if (kind == "daily") share = (1 + 0.4 * std::sin(2 * std::numbers::pi * now / day)) / highest;
    if (kind == "bursty") {  // 3 times the mean for 20 s on average, then half of it for 80 s
      if (now >= calm_until) {
        burst_until = now - 20 * std::log1p(-uniform());
        calm_until = burst_until - 80 * std::log1p(-uniform());
      }
      share = (now < burst_until ? 3.0 : 0.5) / highest;
    }
    if (uniform() >= share) continue;
    Visitor visitor;
    visitor.arrives = now / options.load;
    visitor.seconds = shortest * std::pow(longest / shortest, uniform());
    visitor.scale = options.mixed_sizes ? kScales[static_cast<int>(3 * uniform())] : 1;
    const double kind_of_viewer = uniform();
    visitor.live = kind_of_viewer < options.live_share;
    visitor.patience = kind_of_viewer < 0.1 ? 4 : 60;
    visitor.slow = kind_of_viewer >= 0.1 && kind_of_viewer < 0.15;
    visitor.tenant = static_cast<int>(3 * uniform());
    visitors.push_back(visitor);
  }
  return visitors;
}

}  // namespace longtake::bench
