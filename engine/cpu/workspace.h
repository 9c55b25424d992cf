// Scratch of one stream's operations. It grows to the largest request and stays.
#ifndef LONGTAKE_ENGINE_CPU_WORKSPACE_H_
#define LONGTAKE_ENGINE_CPU_WORKSPACE_H_

#include <cstddef>
#include <vector>

#include "engine/cpu/memory.h"

namespace longtake::cpu {

class Workspace {
 public:
  explicit Workspace(int threads) : of_threads_(threads) {}

  // At least `bytes`, for all threads of the operation that runs; contents undefined. Invalidates what an earlier call
  // gave.
  std::byte* Shared(size_t bytes) { return Grow(shared_, bytes); }

  // At least `bytes` for each thread. Called before the threads start; invalidates what OfThread gave.
  void KeepPerThread(size_t bytes) {
    for (Memory& m : of_threads_) Grow(m, bytes);
  }
  std::byte* OfThread(int thread) const { return of_threads_[thread].data(); }
  float* FloatsOfThread(int thread) const { return of_threads_[thread].f32(); }

  // At least `bytes` of zeros, for reading.
  const std::byte* Zeros(size_t bytes) { return Grow(zeros_, bytes); }

 private:
  static std::byte* Grow(Memory& memory, size_t bytes) {
    if (memory.size() < bytes) memory = Memory(bytes);
    return memory.data();
  }

  Memory shared_, zeros_;
  std::vector<Memory> of_threads_;
};

}  // namespace longtake::cpu

#endif  // LONGTAKE_ENGINE_CPU_WORKSPACE_H_
