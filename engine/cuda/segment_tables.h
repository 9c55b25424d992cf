// A batch's segments and how they are cut, as tables for the device.
#ifndef LONGTAKE_ENGINE_CUDA_SEGMENT_TABLES_H_
#define LONGTAKE_ENGINE_CUDA_SEGMENT_TABLES_H_

#include <cstdint>
#include <span>
#include <vector>

#include "engine/cuda/kernels/segments.h"
#include "engine/ops/ops.h"

namespace longtake::cuda {

inline GridSegment ToGrid(const Segment& s) { return {s.first_row, s.frames, s.height, s.width, s.first_frame}; }

struct SegmentTables {
  std::vector<GridSegment> segments;
  std::vector<Share> shares;

  // Shares of `each` items; items(segment) of a segment.
  template <typename F>
  SegmentTables(std::span<const Segment> all, int64_t each, F&& items) : shares(CutShares(all, each, items)) {
    for (const Segment& s : all) segments.push_back(ToGrid(s));
  }
  int share_count() const { return static_cast<int>(shares.size()); }
};

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_SEGMENT_TABLES_H_
