// Internal to reference/: rotary positions on the grid of a clip.
#ifndef LONGTAKE_ENGINE_REFERENCE_ROTARY_H_
#define LONGTAKE_ENGINE_REFERENCE_ROTARY_H_

#include <cmath>

namespace longtake::reference {

// 3-D rotary positions: d_h = d_w = 2*floor(d/6), d_t = d - d_h - d_w; axes in the order t, h, w; theta 10 000;
// adjacent elements form pairs.
inline void Rotate(const double* x, int d, int frame, int row, int column, double* out) {
  const int dh = 2 * (d / 6), dt = d - 2 * dh;
  const int widths[3] = {dt, dh, dh}, positions[3] = {frame, row, column};
  int at = 0;
  for (int axis = 0; axis < 3; ++axis) {
    for (int i = 0; i < widths[axis]; i += 2, at += 2) {
      const double angle = positions[axis] / std::pow(10000.0, static_cast<double>(i) / widths[axis]);
      // Rounded, because diffusers' tables are float32.
      const double c = static_cast<float>(std::cos(angle)), s = static_cast<float>(std::sin(angle));
      out[at] = x[at] * c - x[at + 1] * s;
      out[at + 1] = x[at] * s + x[at + 1] * c;
    }
  }
}

}  // namespace longtake::reference

#endif  // LONGTAKE_ENGINE_REFERENCE_ROTARY_H_
