// The memory that this process may still allocate, and the limits on it.
#ifndef LONGTAKE_ENGINE_CORE_MEMORY_BUDGET_H_
#define LONGTAKE_ENGINE_CORE_MEMORY_BUDGET_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace longtake {

struct MemoryLimit {
  std::string name;     // "the machine's memory", "cgroup /sys/fs/cgroup/pod", "the address space (ulimit -v)"
  uint64_t bytes = 0;   // in total
  uint64_t in_use = 0;  // by this process and others
  uint64_t available() const { return bytes > in_use ? bytes - in_use : 0; }
  // A text for error messages: "12.5 MiB are left of the address space (ulimit -v), 31.0 MiB".
  std::string Left() const;
};

// Swap is not counted, because passes must not wait for a disk.
struct MemoryBudget {
  std::vector<MemoryLimit> limits;  // empty if the system reports none

  // The limit with the least available memory, or null if there is none.
  const MemoryLimit* tightest() const;

  // `root` is prepended to all paths: empty, or a folder of test data.
  static MemoryBudget Detect(const std::string& root = "");
};

// Appends what is left of the tightest limit to the message of a ResourceExhausted; returns other statuses unchanged.
absl::Status WithWhatIsLeft(absl::Status status);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_MEMORY_BUDGET_H_
