// Cosines and sines of rotary positions, on the device. Made once for each width and kept.
#ifndef LONGTAKE_ENGINE_CUDA_ROTARY_H_
#define LONGTAKE_ENGINE_CUDA_ROTARY_H_

#include <atomic>
#include <cstdint>
#include <vector>

#include "engine/cuda/context.h"
#include "engine/cuda/kernels/rotary_axes.h"

namespace longtake::cuda {

class RotaryTables {
 public:
  // Of the transformer's axes: the angle of pair i at a position is position / 10000^(2i / width), in double until it
  // is stored. [positions][width / 2] pairs of cosine and sine. Null where something has failed, or for no columns.
  const float2* Pairs(Context& context, int width, int64_t positions);
  // Of a head of `head_dim` columns.
  RotaryAxes Axes(Context& context, int head_dim, int64_t positions);
  // Of the text encoder: position * theta^(-2i / head_dim), frequency and angle rounded to float32 as the definition
  // has them. [positions or more][head_dim / 2].
  const float2* Halves(Context& context, int head_dim, float theta, int64_t positions);

  // Of all tables. From any thread.
  size_t bytes() const { return bytes_; }

 private:
  struct Table {
    bool halves = false;
    int width = 0;
    float theta = 0.f;
    int64_t positions = 0;
    DeviceMemory memory;
  };
  const float2* Find(bool halves, int width, float theta, int64_t positions) const;
  const float2* Keep(Context& context, Table table, const std::vector<float2>& values);

  std::vector<Table> tables_;
  std::atomic<size_t> bytes_ = 0;
};

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_ROTARY_H_
