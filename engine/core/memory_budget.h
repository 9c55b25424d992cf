// How much memory this process may still take, and what limits it.
#ifndef LONGTAKE_ENGINE_CORE_MEMORY_BUDGET_H_
#define LONGTAKE_ENGINE_CORE_MEMORY_BUDGET_H_

#include <cstdint>
#include <string>
#include <vector>

namespace longtake {

struct MemoryLimit {
  std::string name;     // "the machine's memory", "cgroup /sys/fs/cgroup/pod", "the address space (ulimit -v)"
  uint64_t bytes = 0;   // in all
  uint64_t in_use = 0;  // by this process or others
  uint64_t available() const { return bytes > in_use ? bytes - in_use : 0; }
  // For messages: "12.5 MiB are left of the address space (ulimit -v), 31.0 MiB".
  std::string Left() const;
};

// Swap does not count: a pass that waits for a disk is no pass.
struct MemoryBudget {
  std::vector<MemoryLimit> limits;  // empty where the system says nothing

  // The one that leaves the least, null where there is none.
  const MemoryLimit* tightest() const;

  // `root` stands before the paths of all files: empty, or in tests a folder that imitates a machine.
  static MemoryBudget Detect(const std::string& root = "");
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_MEMORY_BUDGET_H_
