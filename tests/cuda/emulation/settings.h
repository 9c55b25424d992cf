// How the emulation runs: for tests.
#ifndef LONGTAKE_TESTS_CUDA_EMULATION_SETTINGS_H_
#define LONGTAKE_TESTS_CUDA_EMULATION_SETTINGS_H_

#include <cstddef>
#include <cstdint>

namespace longtake::emulation {

enum class Order { kAscending, kDescending, kRandom };

// What runs when the host waits for a stream's work. Nothing else runs anything.
enum class Streams {
  kLate,    // that work, and of other streams what it waits for
  kRandom,  // work of all streams, one piece after another from any of them that can go on, until that work is done
};

struct Settings {
  Order order = Order::kAscending;  // of threads between barriers, and of blocks
  Streams streams = Streams::kLate;
  uint32_t seed = 1;  // of kRandom
  int devices = 1;
  size_t device_bytes = size_t{2} << 30;  // of each device; more than that is refused as a full device refuses
  int capability = 0;                     // 90: the device says that it is of sm_90. Below that it finds no kernels
  bool invalidates_captures = false;      // every capture fails when it ends
};

// For programs that load the backend, in the environment: LONGTAKE_EMULATION_ORDER=ascending|descending|random,
// LONGTAKE_EMULATION_STREAMS=late|random, LONGTAKE_EMULATION_DEVICES=n.
// Applies to what is launched from now on, by any thread.
void Set(const Settings& settings);
const Settings& Get();

// What has happened so far.
struct Counts {
  uint64_t launches = 0, blocks = 0, allocations = 0;
  uint64_t graphs = 0, graph_launches = 0;
  uint64_t kernels_loaded = 0;  // asked for by cudaFuncGetAttributes, each time
  uint64_t spinning_waits = 0;  // for events made without cudaEventBlockingSync
  size_t allocated_bytes = 0, most_allocated_bytes = 0;
};
Counts GetCounts();

}  // namespace longtake::emulation

// A device that fails from now on, or no longer: launches and waits on it return cudaErrorIllegalAddress. C, for
// programs that load the backend (dlsym).
extern "C" void LongtakeEmulationFail(int device, bool fails);

#endif  // LONGTAKE_TESTS_CUDA_EMULATION_SETTINGS_H_
