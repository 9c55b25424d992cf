// What this process may use of the machine it runs on. The files of /proc and /sys are read anew by each call.
#ifndef LONGTAKE_ENGINE_CORE_MACHINE_H_
#define LONGTAKE_ENGINE_CORE_MACHINE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace longtake {

// Bytes; 0 where the machine does not say.
struct CacheSizes {
  size_t l1d = 0, l2 = 0;  // of one core
  size_t l3 = 0;           // shared by `l3_cores` physical cores
  int l3_cores = 1;
};

struct NumaNode {
  int id = 0;
  std::vector<int> cores;  // indices into Machine::cores
};

struct Machine {
  // A physical core: the logical processors of it that the process may run on, ascending. Two are hyper-threads, which
  // share the core's vector units: matrix products gain nothing from the second.
  struct Core {
    std::vector<int> cpus;
  };
  std::vector<Core> cores;          // at least one
  int cpus = 1;                     // logical processors in them
  std::optional<double> cpu_quota;  // of the tightest control group, in processors' worth of time
  CacheSizes caches;                // of the first core
  std::vector<NumaNode> nodes;      // those with cores of ours; one of all cores where the machine does not say

  // `root` stands before the paths of all files: empty, or in tests a folder that imitates a machine.
  static Machine Detect(const std::string& root = "");
};

// How many threads a compute-bound program should have, and the reason in words for a log.
struct ThreadChoice {
  int threads = 1;
  std::string reason;
};
// One for each physical core, and no more than the quota keeps busy: threads beyond it are stopped for the rest of each
// period, and all others then wait for them.
ThreadChoice ChooseThreads(const Machine& machine);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_MACHINE_H_
