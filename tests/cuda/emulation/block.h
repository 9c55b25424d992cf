// One block's threads, as fibers.
#ifndef LONGTAKE_TESTS_CUDA_EMULATION_BLOCK_H_
#define LONGTAKE_TESTS_CUDA_EMULATION_BLOCK_H_

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "tests/cuda/emulation/fiber.h"

namespace longtake::emulation {

struct Index3 {
  unsigned x = 0, y = 0, z = 0;
};

// A copy from global to shared memory that has been asked for and not waited for.
struct PendingCopy {
  void* to;
  const void* from;
  bool valid;
};

struct Thread {
  Index3 index;
  int number = 0;  // in the block
  std::unique_ptr<Fiber> fiber;
  bool ended = false;
  std::vector<PendingCopy> open;                 // not yet in a group
  std::vector<std::vector<PendingCopy>> groups;  // oldest first
};

// What each lane brings to a collective; `values` of all lanes stand until the last one has come and has run it.
using Collective = void (*)(void* const lanes[32]);

// Runs blocks one after the other; kept for its stacks.
class BlockRunner {
 public:
  // The one that runs on this system thread; made by the first launch.
  static BlockRunner& OfThisThread() { return *running_; }
  static BlockRunner& Make();

  void Run(const std::function<void()>& kernel, Index3 grid, Index3 block, Index3 block_index, size_t shared_bytes);

  // ---- Called by kernels.
  Thread& current() { return *current_; }
  Index3 grid, block, block_index;
  void* shared() { return shared_.get(); }
  void SyncBlock();
  // All 32 lanes of the warp: `lane` is this one's values. Runs `collective` once, when the last has come.
  void SyncWarp(Collective collective, void* lane);

 private:
  struct Warp {
    Collective collective = nullptr;
    std::array<void*, 32> lanes = {};
    int arrived = 0;
  };

  static void RunThread(void* runner);
  int NextReady();
  void Wait();  // the current thread is not ready until somebody pushes it
  [[noreturn]] void Fail(const char* why);

  static inline constinit thread_local BlockRunner* running_ = nullptr;

  const std::function<void()>* kernel_ = nullptr;
  Thread* current_ = nullptr;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::vector<std::unique_ptr<Fiber>> idle_;
  std::vector<int> ready_;
  size_t first_ready_ = 0;  // of an ascending order, which takes from the front
  int at_barrier_ = 0, ended_ = 0;
  uint32_t random_ = 1;
  struct Free {
    void operator()(void* p) const;
  };
  std::unique_ptr<void, Free> shared_;
};

}  // namespace longtake::emulation

#endif  // LONGTAKE_TESTS_CUDA_EMULATION_BLOCK_H_
