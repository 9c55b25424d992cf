#include "engine/core/cgroup.h"

#include <algorithm>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "engine/core/system_files.h"

namespace longtake {
namespace {

// cgroup v1 writes "no limit" as the largest multiple of the page size; no machine has 2^60 bytes.
constexpr uint64_t kNoLimit = uint64_t{1} << 60;

// Folders with the files of one controller, from the process's own group up to the mount point of the hierarchy.
struct Hierarchy {
  bool v2 = false;
  std::vector<std::string> folders;
};

// Returns the path of the process's group, from a line "5:cpu,cpuacct:/path" (v1) or "0::/path" (v2).
std::optional<std::string> GroupOf(const std::string& root, absl::string_view controller, bool v2) {
  const std::optional<std::string> text = ReadSystemFile(root + "/proc/self/cgroup");
  if (!text.has_value()) return std::nullopt;
  for (const absl::string_view line : absl::StrSplit(*text, '\n')) {
    const std::vector<absl::string_view> fields = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (fields.size() != 3) continue;
    const std::vector<absl::string_view> controllers = absl::StrSplit(fields[1], ',');
    const bool names_it = std::find(controllers.begin(), controllers.end(), controller) != controllers.end();
    if (v2 ? fields[0] == "0" && fields[1].empty() : names_it) return std::string(fields[2]);
  }
  return std::nullopt;
}

struct Mount {
  std::string root, point;  // the group that is mounted, and the mount point
};

// Parses lines "36 25 0:32 /group /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory": the fields after " - " are the
// type of the file system, its source and its options.
std::optional<Mount> MountOf(const std::string& root, absl::string_view controller, bool v2) {
  const std::optional<std::string> text = ReadSystemFile(root + "/proc/self/mountinfo");
  if (!text.has_value()) return std::nullopt;
  for (const absl::string_view line : absl::StrSplit(*text, '\n')) {
    const std::vector<absl::string_view> halves = absl::StrSplit(line, absl::MaxSplits(" - ", 1));
    if (halves.size() != 2) continue;
    const std::vector<absl::string_view> front = absl::StrSplit(halves[0], ' '), back = absl::StrSplit(halves[1], ' ');
    if (front.size() < 5 || back.size() < 3 || back[0] != (v2 ? "cgroup2" : "cgroup")) continue;
    const std::vector<absl::string_view> options = absl::StrSplit(back[2], ',');
    if (!v2 && std::find(options.begin(), options.end(), controller) == options.end()) continue;
    const auto unescaped = [](absl::string_view s) { return absl::StrReplaceAll(s, {{"\\040", " "}}); };
    return Mount{unescaped(front[3]), unescaped(front[4])};
  }
  return std::nullopt;
}

std::optional<Hierarchy> HierarchyOf(const std::string& root, absl::string_view controller, bool v2) {
  const std::optional<std::string> group = GroupOf(root, controller, v2);
  const std::optional<Mount> mount = MountOf(root, controller, v2);
  if (!group.has_value() || !mount.has_value()) return std::nullopt;
  // A container without a cgroup namespace sees its group's path from the host's root, but that group is its mount.
  std::string below = *group;
  if (mount->root != "/" && absl::StartsWith(below, mount->root)) below.erase(0, mount->root.size());
  Hierarchy hierarchy{.v2 = v2};
  const std::string top = absl::StrCat(root, mount->point);
  while (true) {
    std::error_code error;
    const std::string folder = below == "/" ? top : absl::StrCat(top, below);
    if (std::filesystem::is_directory(folder, error)) hierarchy.folders.push_back(folder);
    if (below.empty() || below == "/") return hierarchy;
    below.erase(below.rfind('/'));
  }
}

// A controller is managed by v1 or by v2, never by both.
Hierarchy Find(const std::string& root, absl::string_view controller) {
  for (const bool v2 : {false, true}) {
    if (std::optional<Hierarchy> found = HierarchyOf(root, controller, v2); found.has_value()) return *found;
  }
  return {};
}

std::optional<double> QuotaOf(const std::string& folder, bool v2) {
  double quota = 0, period = 0;
  if (v2) {  // "max 100000" or "50000 100000", microseconds
    const std::optional<std::string> text = ReadSystemFile(folder + "/cpu.max");
    if (!text.has_value()) return std::nullopt;
    const std::vector<absl::string_view> fields = absl::StrSplit(*text, ' ');
    if (fields.size() != 2 || !absl::SimpleAtod(fields[0], &quota) || !absl::SimpleAtod(fields[1], &period)) {
      return std::nullopt;
    }
  } else {
    const std::optional<uint64_t> of_quota = ReadSystemNumber(folder + "/cpu.cfs_quota_us");  // -1: none
    const std::optional<uint64_t> of_period = ReadSystemNumber(folder + "/cpu.cfs_period_us");
    if (!of_quota.has_value() || !of_period.has_value()) return std::nullopt;
    quota = static_cast<double>(*of_quota);
    period = static_cast<double>(*of_period);
  }
  if (quota <= 0 || period <= 0) return std::nullopt;
  return quota / period;
}

}  // namespace

std::optional<double> CgroupCpuQuota(const std::string& root) {
  const Hierarchy hierarchy = Find(root, "cpu");
  std::optional<double> tightest;
  for (const std::string& folder : hierarchy.folders) {
    const std::optional<double> quota = QuotaOf(folder, hierarchy.v2);
    if (quota.has_value() && (!tightest.has_value() || *quota < *tightest)) tightest = quota;
  }
  return tightest;
}

std::vector<CgroupMemory> CgroupMemoryLimits(const std::string& root) {
  const Hierarchy hierarchy = Find(root, "memory");
  std::vector<CgroupMemory> limits;
  for (const std::string& folder : hierarchy.folders) {
    const std::optional<uint64_t> limit =
        ReadSystemNumber(folder + (hierarchy.v2 ? "/memory.max" : "/memory.limit_in_bytes"));  // "max": no limit
    if (!limit.has_value() || *limit >= kNoLimit) continue;
    const uint64_t charged =
        ReadSystemNumber(folder + (hierarchy.v2 ? "/memory.current" : "/memory.usage_in_bytes")).value_or(0);
    const std::string stat = ReadSystemFile(folder + "/memory.stat").value_or("");
    const std::string prefix = hierarchy.v2 ? "" : "total_";  // v1's plain counters exclude child groups
    const uint64_t files = NumberBehind(stat, prefix + "inactive_file").value_or(0) +
                           NumberBehind(stat, prefix + "active_file").value_or(0);
    limits.push_back({.folder = folder, .limit = *limit, .in_use = charged - std::min(charged, files)});
  }
  return limits;
}

}  // namespace longtake
