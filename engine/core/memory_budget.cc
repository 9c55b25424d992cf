#include "engine/core/memory_budget.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/core/cgroup.h"
#include "engine/core/system_files.h"

namespace longtake {

std::string MemoryLimit::Left() const {
  constexpr double kMiB = 1 << 20;
  return absl::StrFormat("%.1f MiB are left of %s, %.1f MiB", static_cast<double>(available()) / kMiB, name,
                         static_cast<double>(bytes) / kMiB);
}

const MemoryLimit* MemoryBudget::tightest() const {
  const auto least = std::min_element(limits.begin(), limits.end(), [](const MemoryLimit& a, const MemoryLimit& b) {
    return a.available() < b.available();
  });
  return least == limits.end() ? nullptr : &*least;
}

MemoryBudget MemoryBudget::Detect(const std::string& root) {
  constexpr uint64_t kKiB = 1024;
  MemoryBudget budget;
  const std::string meminfo = ReadSystemFile(root + "/proc/meminfo").value_or("");
  const std::optional<uint64_t> total = NumberBehind(meminfo, "MemTotal:");
  if (total.has_value()) {
    const uint64_t available = std::min(*total, NumberBehind(meminfo, "MemAvailable:").value_or(*total));
    budget.limits.push_back(
        {.name = "the machine's memory", .bytes = *total * kKiB, .in_use = (*total - available) * kKiB});
  }
  for (const CgroupMemory& group : CgroupMemoryLimits(root)) {
    budget.limits.push_back(
        {.name = absl::StrCat("cgroup ", group.folder), .bytes = group.limit, .in_use = group.in_use});
  }
  // The soft limit is the first number of the line; "unlimited" does not parse, so it is no limit.
  const std::string rlimits = ReadSystemFile(root + "/proc/self/limits").value_or("");
  if (const std::optional<uint64_t> space = NumberBehind(rlimits, "Max address space"); space.has_value()) {
    budget.limits.push_back({.name = "the address space (ulimit -v)",
                             .bytes = *space,
                             .in_use = StatusBytes(root + "/proc/self/status", "VmSize:")});
  }
  return budget;
}

absl::Status WithWhatIsLeft(absl::Status status) {
  if (!absl::IsResourceExhausted(status)) return status;
  const MemoryBudget budget = MemoryBudget::Detect();
  const MemoryLimit* limit = budget.tightest();
  if (limit == nullptr) return status;
  return absl::ResourceExhaustedError(absl::StrCat(status.message(), "; ", limit->Left()));
}

}  // namespace longtake
