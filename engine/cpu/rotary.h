// Tables of the angles of rotary positions.
#ifndef LONGTAKE_ENGINE_CPU_ROTARY_H_
#define LONGTAKE_ENGINE_CPU_ROTARY_H_

#include <cstdint>
#include <memory>
#include <vector>

namespace longtake::cpu {

// Cosines and sines of positions [0, positions), rows of `width` floats.
struct RotaryTable {
  int width = 0;
  float theta = 0;
  int64_t positions = 0;
  std::vector<float> cosines, sines;
};

class RotaryTables {
 public:
  // Of one axis of the 3-D rotation of linear attention: neighbours are a pair. Both have the same cosine; sines have
  // signs (-, +).
  const RotaryTable& Pairs(int width, int64_t positions);
  // Of the text encoder's rotation: element i is paired with i + head_dim / 2, so rows are half as wide as a head.
  const RotaryTable& Halves(int head_dim, float theta, int64_t positions);

 private:
  std::vector<std::unique_ptr<RotaryTable>> pairs_, halves_;
};

}  // namespace longtake::cpu

#endif  // LONGTAKE_ENGINE_CPU_ROTARY_H_
