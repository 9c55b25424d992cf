// Limits that control groups set for this process: cgroup v2, v1, and both side by side.
#ifndef LONGTAKE_ENGINE_CORE_CGROUP_H_
#define LONGTAKE_ENGINE_CORE_CGROUP_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace longtake {

struct CgroupMemory {
  std::string folder;   // of the group that sets the limit
  uint64_t limit = 0;   // bytes
  uint64_t in_use = 0;  // bytes that the kernel cannot take back: without the page cache of files
};

// Groups are nested and every one's limit holds, so that those above the process's own count, as far as the container
// shows them. `root` stands before the paths of all files: empty, or in tests a folder that imitates a machine.
//
// The tightest group's quota, in processors' worth of time: 0.5 lets one thread run half of the time.
std::optional<double> CgroupCpuQuota(const std::string& root);
// All groups that limit memory, the process's own first.
std::vector<CgroupMemory> CgroupMemoryLimits(const std::string& root);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_CGROUP_H_
