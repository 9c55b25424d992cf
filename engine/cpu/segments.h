// Iterates over the rows of packed segments.
#ifndef LONGTAKE_ENGINE_CPU_SEGMENTS_H_
#define LONGTAKE_ENGINE_CPU_SEGMENTS_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/ops/segment.h"

namespace longtake::cpu {

// A position in the concatenated rows of all segments: the segment, and the row within it.
struct SegmentRow {
  size_t segment = 0;
  int64_t row = 0;
};

inline SegmentRow FindRow(std::span<const Segment> segments, int64_t row) {
  SegmentRow at{0, row};
  while (at.row >= segments[at.segment].rows()) at.row -= segments[at.segment++].rows();
  return at;
}

inline void NextRow(std::span<const Segment> segments, SegmentRow* at) {
  if (++at->row < segments[at->segment].rows()) return;
  at->row = 0;
  ++at->segment;
}

inline int64_t AllRows(std::span<const Segment> segments) {
  int64_t rows = 0;
  for (const Segment& s : segments) rows += s.rows();
  return rows;
}

}  // namespace longtake::cpu

#endif  // LONGTAKE_ENGINE_CPU_SEGMENTS_H_
