// Workspace by plan, then run: the same code that lays out a workspace later hands out its pieces. An arena without a
// base address only counts, which gives the size before anything is allocated.
#ifndef LONGTAKE_ENGINE_OPS_ARENA_H_
#define LONGTAKE_ENGINE_OPS_ARENA_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "engine/core/tensor.h"

namespace longtake {

// Pieces start at multiples of 64 bytes: a cache line, so that no two pieces share one between threads, and a vector of
// AVX-512.
inline size_t Aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

class Arena {
 public:
  explicit Arena(void* base = nullptr) : base_(static_cast<std::byte*>(base)) {}

  Mat Take(DType dtype, int64_t rows, int64_t cols) {
    return MakeMat(Bytes(static_cast<size_t>(rows * cols) * SizeOf(dtype)), dtype, rows, cols);
  }
  void* Bytes(size_t bytes) {
    void* at = base_ == nullptr ? nullptr : base_ + used_;
    used_ += Aligned(bytes);
    peak_ = std::max(peak_, used_);
    return at;
  }

  // Release frees the pieces taken after Mark; later pieces may reuse their addresses.
  size_t Mark() const { return used_; }
  void Release(size_t mark) { used_ = mark; }
  size_t peak() const { return peak_; }

 private:
  std::byte* base_;
  size_t used_ = 0;
  size_t peak_ = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_OPS_ARENA_H_
