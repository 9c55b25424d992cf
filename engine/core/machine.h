// The part of the machine that this process may use. Every call reads the files of /proc and /sys again.
#ifndef LONGTAKE_ENGINE_CORE_MACHINE_H_
#define LONGTAKE_ENGINE_CORE_MACHINE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace longtake {

// In bytes; 0 if the machine does not report it.
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
  // A physical core, as those of its logical processors that the process may run on, ascending. Hyper-threads share
  // their core's vector units, so a second one does not speed up matrix products.
  struct Core {
    std::vector<int> cpus;
  };
  std::vector<Core> cores;          // at least one
  int cpus = 1;                     // logical processors in `cores`
  std::optional<double> cpu_quota;  // smallest quota of the control groups, in processors
  CacheSizes caches;                // of the first core
  std::vector<NumaNode> nodes;      // those with cores of ours; one node of all cores if the machine reports none

  // `root` is prepended to all paths: empty, or a folder of test data.
  static Machine Detect(const std::string& root = "");
};

// The number of threads for a compute-bound program, and the reason in words for a log.
struct ThreadChoice {
  int threads = 1;
  std::string reason;
};
// One thread for each physical core, but no more than the quota keeps busy. With more threads the kernel would stop the
// process for the rest of each period once the quota is used up.
ThreadChoice ChooseThreads(const Machine& machine);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_MACHINE_H_
