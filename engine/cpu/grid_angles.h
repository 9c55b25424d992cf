// Internal to cpu/: the angles of 3-D rotary positions, for every row of a batch.
#ifndef LONGTAKE_ENGINE_CPU_GRID_ANGLES_H_
#define LONGTAKE_ENGINE_CPU_GRID_ANGLES_H_

#include <algorithm>
#include <cstdint>
#include <span>

#include "engine/cpu/context.h"
#include "engine/ops/segment.h"

namespace longtake::cpu {

// Of every row, the same for all heads, [rows, head_dim]: axes t, h, w, of widths dt, dh, dh. Cosines are equal within
// a pair, sines have the signs (-, +).
struct GridAngles {
  float *cosines, *sines;
};

// tokens(s) is the Segment of an element of `segments`.
//
// One loop runs over the lines of all segments. One loop for each segment would synchronize the threads once for each
// session of a batch, in each layer.
template <typename S, typename F>
void FillAngles(Context& context, std::span<const S> segments, F&& tokens, int head_dim, const GridAngles& angles) {
  const int d = head_dim, dh = 2 * (d / 6), dt = d - 2 * dh;
  int64_t frames = 0, side = 0;
  const auto lines_of = [&](const S& s) { return int64_t{tokens(s).frames} * tokens(s).height; };
  int64_t lines = 0;
  for (const S& each : segments) {
    const Segment& s = tokens(each);
    frames = std::max<int64_t>(frames, int64_t{s.first_frame} + s.frames);
    side = std::max<int64_t>({side, s.height, s.width});
    lines += lines_of(each);
  }
  const RotaryTable& table_t = context.rotary.Pairs(dt, frames);
  const RotaryTable& table_hw = context.rotary.Pairs(dh, side);
  constexpr int64_t kLines = 8;  // lines of one task, which takes some microseconds
  context.ParallelFor((lines + kLines - 1) / kLines, [&](int64_t task, int) {
    size_t at_segment = 0;
    int64_t line = task * kLines;
    for (int64_t left = std::min(kLines, lines - line); left > 0; --left, ++line) {
      while (line >= lines_of(segments[at_segment])) line -= lines_of(segments[at_segment++]);
      const Segment& s = tokens(segments[at_segment]);
      const int64_t frame = s.first_frame + line / s.height, y = line % s.height;
      for (int64_t x = 0; x < s.width; ++x) {
        const int64_t at = (s.first_row + line * s.width + x) * d;
        const auto fill = [&](const float* of_frame, const float* of_row, const float* of_column, float* to) {
          std::copy_n(of_frame, dt, to);
          std::copy_n(of_row, dh, to + dt);
          std::copy_n(of_column, dh, to + dt + dh);
        };
        fill(table_t.cosines(frame), table_hw.cosines(y), table_hw.cosines(x), angles.cosines + at);
        fill(table_t.sines(frame), table_hw.sines(y), table_hw.sines(x), angles.sines + at);
      }
    }
  });
}

}  // namespace longtake::cpu

#endif  // LONGTAKE_ENGINE_CPU_GRID_ANGLES_H_
