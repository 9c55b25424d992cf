// The workspace of one stream's operations: one region, from which an operation takes pieces while it runs.
#ifndef LONGTAKE_ENGINE_CPU_WORKSPACE_H_
#define LONGTAKE_ENGINE_CPU_WORKSPACE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "engine/core/matrix.h"
#include "engine/cpu/memory.h"

namespace longtake::cpu {

// A stack of pieces. While planning, requests are only counted. Reserve() allocates the largest sum that was counted; a
// later request beyond it is a bug and aborts. Without a reservation (module runner, tests) the region grows to the
// largest sum in use.
//
// Only the thread that calls operations takes pieces; the threads of a parallel loop only use them.
class Workspace {
 public:
  explicit Workspace(int threads) : threads_(threads) {}

  // One piece for each thread of a parallel loop.
  class PerThread {
   public:
    PerThread(std::byte* data, size_t stride) : data_(data), stride_(stride) {}
    std::byte* of(int thread) const { return data_ + thread * stride_; }
    float* floats_of(int thread) const { return reinterpret_cast<float*>(of(thread)); }

   private:
    std::byte* data_;
    size_t stride_;
  };

  // Releases at its end what an operation took. Scopes nest: a matrix product inside an operation has its own.
  class Scope {
   public:
    explicit Scope(Workspace& workspace) : workspace_(workspace), begin_(workspace.in_use_) {}
    ~Scope() { workspace_.Release(begin_); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

    // Pieces start at multiples of 64 bytes. Their content is undefined.
    std::byte* Take(size_t bytes) { return workspace_.Take(bytes); }
    float* TakeFloats(int64_t count) { return reinterpret_cast<float*>(Take(count * sizeof(float))); }
    Mat TakeMat(DType type, int64_t rows, int64_t columns) {
      return MakeMat(static_cast<void*>(Take(rows * columns * SizeOf(type))), type, rows, columns);
    }
    // `bytes` zeros, read-only.
    const std::byte* TakeZeros(size_t bytes);
    PerThread TakePerThread(size_t bytes);

   private:
    Workspace& workspace_;
    const size_t begin_;
  };

  bool planning() const { return planning_; }
  void SetPlanning(bool planning) { planning_ = planning; }
  // ResourceExhausted: the planned bytes cannot be allocated.
  absl::Status Reserve();

  // The largest number of bytes planned, and in use, at a time. May be called on any thread.
  size_t planned() const { return planned_; }
  size_t used() const { return used_; }

  // For tests that fill the region.
  std::span<std::byte> region() const { return {region_.data(), region_.size()}; }

 private:
  std::byte* Take(size_t bytes);
  void Release(size_t to);

  const int threads_;
  bool planning_ = false, reserved_ = false;
  size_t in_use_ = 0;
  std::atomic<size_t> planned_ = 0, used_ = 0;
  Memory region_;
  // Pieces that did not fit into the region while nothing is reserved. The next operation allocates a larger region.
  struct Overflow {
    size_t offset;
    Memory memory;
  };
  std::vector<Overflow> overflow_;
};

}  // namespace longtake::cpu

#endif  // LONGTAKE_ENGINE_CPU_WORKSPACE_H_
