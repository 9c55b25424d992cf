#include "engine/cuda/rotary.h"

#include <cmath>
#include <utility>

namespace longtake::cuda {

const float2* RotaryTables::Find(bool halves, int width, float theta, int64_t positions) const {
  for (const Table& t : tables_) {
    if (t.halves == halves && t.width == width && t.theta == theta && t.positions >= positions) {
      return static_cast<const float2*>(t.memory.get());
    }
  }
  return nullptr;
}

const float2* RotaryTables::Keep(Context& context, Table table, const std::vector<float2>& values) {
  Launcher& launcher = context.launcher();
  const size_t bytes = values.size() * sizeof(float2);
  void* data = nullptr;
  if (!launcher.ok() || !launcher.Check(cudaMalloc(&data, bytes), "rotary table")) return nullptr;
  table.memory = DeviceMemory(data);
  bytes_ += bytes;
  launcher.Check(cudaMemcpyAsync(data, values.data(), bytes, cudaMemcpyHostToDevice, launcher.stream()),
                 "rotary table");
  launcher.Check(cudaStreamSynchronize(launcher.stream()), "rotary table");  // `values` goes
  return static_cast<const float2*>(tables_.emplace_back(std::move(table)).memory.get());
}

const float2* RotaryTables::Pairs(Context& context, int width, int64_t positions) {
  if (width == 0) return nullptr;
  if (const float2* found = Find(false, width, 0.f, positions)) return found;
  const int pairs = width / 2;
  std::vector<float2> values(positions * pairs);
  for (int64_t p = 0; p < positions; ++p) {
    for (int i = 0; i < pairs; ++i) {
      const double angle = static_cast<double>(p) / std::pow(10000.0, 2.0 * i / width);
      values[p * pairs + i] = {static_cast<float>(std::cos(angle)), static_cast<float>(std::sin(angle))};
    }
  }
  return Keep(context, {.width = width, .positions = positions}, values);
}

RotaryAxes RotaryTables::Axes(Context& context, int head_dim, int64_t positions) {
  const int space = 2 * (head_dim / 6), time = head_dim - 2 * space;
  return {.time = Pairs(context, time, positions),
          .space = Pairs(context, space, positions),
          .time_pairs = time / 2,
          .space_pairs = space / 2};
}

const float2* RotaryTables::Halves(Context& context, int head_dim, float theta, int64_t positions) {
  if (const float2* found = Find(true, head_dim, theta, positions)) return found;
  positions = (positions + 1023) / 1024 * 1024;  // so that a few more do not make a new table
  const int pairs = head_dim / 2;
  std::vector<float2> values(positions * pairs);
  for (int i = 0; i < pairs; ++i) {
    const auto frequency = static_cast<float>(1.0 / std::pow(static_cast<double>(theta), 2.0 * i / head_dim));
    for (int64_t p = 0; p < positions; ++p) {
      const float angle = static_cast<float>(p) * frequency;
      values[p * pairs + i] = {static_cast<float>(std::cos(double{angle})),
                               static_cast<float>(std::sin(double{angle}))};
    }
  }
  return Keep(context, {.halves = true, .width = head_dim, .theta = theta, .positions = positions}, values);
}

}  // namespace longtake::cuda
