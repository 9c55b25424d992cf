// A batch's segments and how they are cut, as tables for the device. Padded (Context::Padded) with what has no rows.
#ifndef LONGTAKE_ENGINE_CUDA_SEGMENT_TABLES_H_
#define LONGTAKE_ENGINE_CUDA_SEGMENT_TABLES_H_

#include <cstdint>
#include <span>
#include <vector>

#include "engine/cuda/context.h"
#include "engine/cuda/kernels/segments.h"
#include "engine/ops/ops.h"

namespace longtake::cuda {

inline GridSegment ToGrid(const Segment& s) { return {s.first_row, s.frames, s.height, s.width, s.first_frame}; }

inline std::vector<Share> PaddedShares(const Context& context, std::vector<Share> shares) {
  shares.resize(context.Padded(static_cast<int64_t>(shares.size())), {.segment = -1});
  return shares;
}

struct SegmentTables {
  std::vector<GridSegment> segments;
  std::vector<Share> shares;

  // Shares of `each` items; items(segment) of a segment.
  template <typename F>
  SegmentTables(const Context& context, std::span<const Segment> all, int64_t each, F&& items)
      : shares(PaddedShares(context, CutShares(all, each, items))) {
    for (const Segment& s : all) segments.push_back(ToGrid(s));
    segments.resize(context.Padded(static_cast<int64_t>(all.size())));
  }
  int share_count() const { return static_cast<int>(shares.size()); }
};

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_SEGMENT_TABLES_H_
