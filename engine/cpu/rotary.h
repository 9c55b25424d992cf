// Tables of the angles of rotary positions. Their length is the highest position requested.
#ifndef LONGTAKE_ENGINE_CPU_ROTARY_H_
#define LONGTAKE_ENGINE_CPU_ROTARY_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"

namespace longtake::cpu {

// Cosines and sines of positions from 0 on, in rows of `width` floats.
class RotaryTable {
 public:
  enum class Form {
    kPairs,   // neighbours form a pair: both have the same cosine, and sines with signs (-, +)
    kHalves,  // element i forms a pair with element i + width of a row of 2 * width elements
  };
  RotaryTable(Form form, int width, float theta);

  const float* cosines(int64_t position) const { return cosines_.data() + position * width; }
  const float* sines(int64_t position) const { return sines_.data() + position * width; }
  int64_t positions() const { return positions_; }
  size_t row_bytes() const { return 2 * width * sizeof(float); }
  // Computes the missing rows below `positions`. Throws std::bad_alloc.
  void Grow(int64_t positions);

  const Form form;
  const int width;
  const float theta;

 private:
  std::vector<double> factors_;  // by element: the angle is position / factor for kPairs, position * factor for kHalves
  int64_t positions_ = 0;
  std::vector<float> cosines_, sines_;
};

// Planned and reserved like Workspace. Without a reservation a table grows to the highest position requested.
class RotaryTables {
 public:
  // Rows for positions [0, positions), for one axis of the 3-D rotation of linear attention.
  const RotaryTable& Pairs(int width, int64_t positions) {
    return Find(RotaryTable::Form::kPairs, width, 1e4f, positions);
  }
  // The same for the text encoder's rotation; a row is half as wide as a head.
  const RotaryTable& Halves(int head_dim, float theta, int64_t positions) {
    return Find(RotaryTable::Form::kHalves, head_dim / 2, theta, positions);
  }

  void SetPlanning(bool planning) { planning_ = planning; }
  absl::Status Reserve();
  size_t planned() const { return planned_; }
  size_t used() const { return used_; }

 private:
  struct Entry {
    RotaryTable table;
    int64_t planned = 0, used = 0;  // positions
  };
  const RotaryTable& Find(RotaryTable::Form form, int width, float theta, int64_t positions);

  bool planning_ = false, reserved_ = false;
  std::atomic<size_t> planned_ = 0, used_ = 0;  // bytes of all tables
  std::vector<std::unique_ptr<Entry>> entries_;
};

}  // namespace longtake::cpu

#endif  // LONGTAKE_ENGINE_CPU_ROTARY_H_
