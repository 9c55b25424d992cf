#include "engine/cpu/panels.h"

#include <algorithm>
#include <cstring>

#include "engine/cpu/views.h"

namespace longtake::cpu {
namespace {

constexpr int PanelWidth(const KernelTable& kernels) { return (kernels.tile_rows[4] != 0 ? 4 : 2) * kernels.lanes; }

template <typename F>
void ForPanels(int64_t columns, const KernelTable& kernels, F&& f) {
  const int64_t width = PanelWidth(kernels);
  for (int64_t c = 0; c < columns; c += width) {
    const int64_t count = std::min(width, columns - c);
    f(c, count, RoundUp(count, kernels.lanes));
  }
}

}  // namespace

int64_t KeyElements(int64_t n, int64_t d, DType type, const KernelTable& kernels) {
  return RoundUp(n, kernels.lanes) * RoundUp(d, StepOf(type));
}

int64_t ValueElements(int64_t n, int64_t d, DType type, const KernelTable& kernels) {
  return RoundUp(d, kernels.lanes) * RoundUp(n, StepOf(type));
}

void PackKeys(const ConstMat& keys, int64_t first, const KernelTable& kernels, void* out) {
  const DType type = keys.dtype;
  const int64_t steps = RoundUp(keys.cols, StepOf(type)) / StepOf(type);
  auto* panel = static_cast<std::byte*>(out) + first * steps * 4;
  std::memset(panel, 0, KeyElements(keys.rows, keys.cols, type, kernels) * BytesOf(type));
  ForPanels(keys.rows, kernels, [&](int64_t row, int64_t count, int64_t width) {
    auto* to = reinterpret_cast<uint32_t*>(panel);
    for (int64_t c = 0; c < count; ++c) {
      const std::byte* from = RowAt(keys, row + c);
      for (int64_t k = 0; k < steps; ++k) {
        const bool half = type == DType::kBF16 && 2 * k + 1 == keys.cols;
        std::memcpy(to + k * width + c, from + 4 * k, half ? 2 : 4);
      }
    }
    panel += steps * width * 4;
  });
}

void PackValues(const ConstMat& values, int64_t first, int64_t all, const KernelTable& kernels, void* out) {
  const DType type = values.dtype;
  auto* panel = static_cast<std::byte*>(out);
  ForPanels(values.cols, kernels, [&](int64_t column, int64_t count, int64_t width) {
    std::byte* const rows = panel + first * width * BytesOf(type);
    std::memset(rows, 0, RoundUp(values.rows, StepOf(type)) * width * BytesOf(type));
    for (int64_t k = 0; k < values.rows; ++k) {
      const std::byte* row = RowAt(values, k) + column * BytesOf(type);
      if (type == DType::kF32) {
        std::memcpy(reinterpret_cast<float*>(rows) + k * width, row, count * sizeof(float));
      } else {
        const auto* from = reinterpret_cast<const uint16_t*>(row);
        auto* to = reinterpret_cast<uint16_t*>(rows) + (k >> 1) * width * 2 + (k & 1);
        for (int64_t c = 0; c < count; ++c) to[2 * c] = from[c];
      }
    }
    panel += RoundUp(all, StepOf(type)) * width * BytesOf(type);
  });
}

}  // namespace longtake::cpu
