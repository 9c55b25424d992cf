#include "engine/cpu/rotary.h"

#include <cmath>

#include "engine/cpu/views.h"

namespace longtake::cpu {

const RotaryTable& RotaryTables::Pairs(int width, int64_t positions) {
  for (const auto& t : pairs_) {
    if (t->width == width && t->positions >= positions) return *t;
  }
  auto t = std::make_unique<RotaryTable>();
  t->width = width;
  t->positions = positions;
  t->cosines.resize(positions * width);
  t->sines.resize(positions * width);
  for (int64_t p = 0; p < positions; ++p) {
    for (int i = 0; i + 1 < width; i += 2) {
      const double angle = static_cast<double>(p) / std::pow(10000.0, static_cast<double>(i) / width);
      const int64_t at = p * width + i;
      t->cosines[at] = t->cosines[at + 1] = static_cast<float>(std::cos(angle));
      t->sines[at + 1] = static_cast<float>(std::sin(angle));
      t->sines[at] = -t->sines[at + 1];
    }
  }
  return *pairs_.emplace_back(std::move(t));
}

const RotaryTable& RotaryTables::Halves(int head_dim, float theta, int64_t positions) {
  for (const auto& t : halves_) {
    if (t->width == head_dim / 2 && t->theta == theta && t->positions >= positions) return *t;
  }
  auto t = std::make_unique<RotaryTable>();
  t->width = head_dim / 2;
  t->theta = theta;
  t->positions = RoundUp(positions, 1024);
  t->cosines.resize(t->positions * t->width);
  t->sines.resize(t->positions * t->width);
  for (int i = 0; i < t->width; ++i) {
    // Frequency and angle in float32, as the definition has them.
    const float frequency = static_cast<float>(1.0 / std::pow(static_cast<double>(theta), 2.0 * i / head_dim));
    for (int64_t p = 0; p < t->positions; ++p) {
      const float angle = static_cast<float>(p) * frequency;
      t->cosines[p * t->width + i] = static_cast<float>(std::cos(double{angle}));
      t->sines[p * t->width + i] = static_cast<float>(std::sin(double{angle}));
    }
  }
  return *halves_.emplace_back(std::move(t));
}

}  // namespace longtake::cpu
