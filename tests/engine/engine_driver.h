// Drives sessions of an engine to their end, in a mix that a seed chooses.
#ifndef LONGTAKE_TESTS_ENGINE_ENGINE_DRIVER_H_
#define LONGTAKE_TESTS_ENGINE_ENGINE_DRIVER_H_

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "common/mutex.h"
#include "engine/engine.h"

namespace longtake {

// Waits for `count` completions. Standard parts only: ThreadSanitizer does not see into Debian's Abseil.
class Countdown {
 public:
  explicit Countdown(int count) : left_(count) {}
  void Done() {
    const MutexLock lock(mutex_);
    if (--left_ == 0) zero_.NotifyAll();
  }
  void Wait() {
    MutexLock lock(mutex_);
    zero_.Wait(lock, [this] { return left_ <= 0; });
  }

 private:
  Mutex mutex_;
  ConditionVariable zero_;
  int left_;
};

// One video to make: with another prompt from some block on, if `switch_block` is positive.
struct Job {
  SessionSpec spec;
  std::string prompt;
  int switch_block = 0;
  std::string next_prompt;
  int join_tick = 0;      // opened then
  int abandon_tick = -1;  // closed then, unfinished
};

struct Made {
  std::vector<uint8_t> bytes;  // all frames
  int64_t frames = 0;
};

// Submits one pass and waits for it.
PassResult RunPass(Engine& engine, Pass pass);

// Runs the jobs together. At each tick every open session has its next pass in the batch with probability `activity`.
// Abandoned jobs' results hold what had been decoded.
std::vector<Made> RunJobs(Engine& engine, const std::vector<Job>& jobs, double activity, uint32_t mix_seed);

}  // namespace longtake

#endif  // LONGTAKE_TESTS_ENGINE_ENGINE_DRIVER_H_
