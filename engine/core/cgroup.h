// The limits that control groups impose on this process. Supports cgroup v2, v1, and hosts that use both.
#ifndef LONGTAKE_ENGINE_CORE_CGROUP_H_
#define LONGTAKE_ENGINE_CORE_CGROUP_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace longtake {

struct CgroupMemory {
  std::string folder;   // of the group that imposes the limit
  uint64_t limit = 0;   // bytes
  uint64_t in_use = 0;  // bytes that the kernel cannot reclaim: without the page cache of files
};

// Groups are nested and all their limits apply, so these functions read the process's own group and all groups above it
// that the container can see. `root` is prepended to all paths: empty, or a folder of test data.
//
// Returns the smallest quota, in processors: 0.5 lets one thread run half of the time.
std::optional<double> CgroupCpuQuota(const std::string& root);
// Returns all groups that limit memory, the process's own first.
std::vector<CgroupMemory> CgroupMemoryLimits(const std::string& root);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_CGROUP_H_
