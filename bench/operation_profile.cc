#include "bench/operation_profile.h"

#include <algorithm>
#include <map>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace longtake {

void OperationProfile::Enable(bool enabled) const {
  for (Ops* ops : parts_) ops->profiler().Enable(enabled);
}

void OperationProfile::Reset() const {
  for (Ops* ops : parts_) ops->profiler().Reset();
}

std::vector<Profiler::Zone> OperationProfile::zones() const {
  std::map<std::string_view, Profiler::Zone> by_name;
  for (const Ops* ops : parts_) {
    for (const Profiler::Zone& zone : ops->profiler().zones()) {
      Profiler::Zone& sum = by_name[zone.operation];
      sum.operation = zone.operation;
      sum.calls += zone.calls;
      sum.seconds += zone.seconds;
    }
  }
  std::vector<Profiler::Zone> zones;
  for (const auto& [name, zone] : by_name) zones.push_back(zone);
  std::stable_sort(zones.begin(), zones.end(), [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
  return zones;
}

std::string OperationProfile::Table(double seconds, int rounds) const {
  if (parts_.empty()) return "";
  std::string table = absl::StrFormat("%-20s %9s %12s %7s\n", "operation", "calls", "seconds", "share");
  const auto add = [&](std::string_view name, const std::string& calls, double own) {
    absl::StrAppendFormat(&table, "%-20s %9s %12.6f %5.1f %%\n", std::string(name), calls, own / rounds,
                          100 * own / seconds);
  };
  double inside = 0;
  for (const Profiler::Zone& zone : zones()) {
    add(zone.operation, absl::StrFormat("%.0f", static_cast<double>(zone.calls) / rounds), zone.seconds);
    inside += zone.seconds;
  }
  add("between operations", "", seconds - inside);
  return table;
}

}  // namespace longtake
