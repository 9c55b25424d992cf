// How work over packed sessions is cut for the device.
#ifndef LONGTAKE_ENGINE_CUDA_KERNELS_SEGMENTS_H_
#define LONGTAKE_ENGINE_CUDA_KERNELS_SEGMENTS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "engine/core/tensor.h"

namespace longtake::cuda {

// A matrix as kernels' arguments hold it. Like every struct that is an argument it has no unnamed bytes between its
// fields, so that nothing undefined travels: the tests' emulation searches arguments for host addresses.
struct Rows {
  const void* data = nullptr;
  int64_t rows = 0, columns = 0, stride = 0;
};
struct MutableRows {
  void* data = nullptr;
  int64_t rows = 0, columns = 0, stride = 0;
};
inline Rows RowsOf(const ConstMat& m) { return {m.data, m.rows, m.cols, m.stride}; }
inline MutableRows RowsOf(const Mat& m) { return {m.data, m.rows, m.cols, m.stride}; }

// A block's share: some rows, or lines, of one segment from `first` on. Cut from the segment's beginning, never from
// the batch's, so that a session's sums are cut in the same places whatever it is batched with.
struct Share {
  int32_t segment = 0;  // below 0: there is nothing to do
  int32_t first = 0;
};

// Shares of `each` items; items(segment) of each of the segments.
template <typename T, typename F>
std::vector<Share> CutShares(std::span<const T> segments, int64_t each, F&& items) {
  std::vector<Share> shares;
  for (size_t s = 0; s < segments.size(); ++s) {
    const int64_t count = items(segments[s]);
    for (int64_t first = 0; first < count; first += each) {
      shares.push_back({static_cast<int32_t>(s), static_cast<int32_t>(first)});
    }
  }
  return shares;
}

// A session's tokens, with what an operation reads or writes beside the packed rows.
struct GridSegment {
  int64_t first_row = 0;
  int32_t frames = 0, height = 0, width = 0;
  int32_t first_frame = 0;
  const void* in = nullptr;
  void* out = nullptr;
};

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_KERNELS_SEGMENTS_H_
