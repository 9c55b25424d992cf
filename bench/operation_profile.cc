#include "bench/operation_profile.h"

#include <algorithm>
#include <map>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/ops/profiler.h"

namespace longtake {

void OperationProfile::Enable(bool enabled) const {
  for (Ops* ops : parts_) ops->profiler().Enable(enabled);
}

void OperationProfile::Reset() const {
  for (Ops* ops : parts_) ops->profiler().Reset();
}

std::string OperationProfile::Table(double seconds, int rounds) const {
  if (parts_.empty()) return "";
  std::map<std::string_view, Profiler::Zone> by_name;
  double inside = 0;
  for (const Ops* ops : parts_) {
    for (const Profiler::Zone& zone : ops->profiler().zones()) {
      Profiler::Zone& sum = by_name[zone.operation];
      sum.calls += zone.calls;
      sum.seconds += zone.seconds;
      inside += zone.seconds;
    }
  }
  std::vector<std::pair<std::string_view, Profiler::Zone>> zones(by_name.begin(), by_name.end());
  std::stable_sort(zones.begin(), zones.end(),
                   [](const auto& a, const auto& b) { return a.second.seconds > b.second.seconds; });

  std::string table = absl::StrFormat("%-20s %9s %12s %7s\n", "operation", "calls", "seconds", "share");
  const auto add = [&](std::string_view name, const std::string& calls, double own) {
    absl::StrAppendFormat(&table, "%-20s %9s %12.6f %5.1f %%\n", std::string(name), calls, own / rounds,
                          100 * own / seconds);
  };
  for (const auto& [name, zone] : zones) {
    add(name, absl::StrFormat("%.0f", static_cast<double>(zone.calls) / rounds), zone.seconds);
  }
  add("between operations", "", seconds - inside);
  return table;
}

}  // namespace longtake
