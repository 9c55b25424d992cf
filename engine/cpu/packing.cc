#include "engine/cpu/packing.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "engine/core/float16.h"

namespace longtake::cpu {
namespace {

// What one panel's part may take: a third of 1 MiB of second-level cache, since rows and results stream through it too.
constexpr int64_t kPartBytes = 336 << 10;

// Widest panel that wastes least: 64 columns, or 48 where that divides and 64 does not (96 outputs of the VAE).
int PanelVectors(int64_t outputs, const KernelTable& table) {
  const int64_t vectors = RoundUp(outputs, table.lanes) / table.lanes;
  if (table.tile_rows[4] == 0) return 2;
  return vectors % 4 != 0 && vectors % 3 == 0 ? 3 : 4;
}

float ReadFloat(const HostTensor& t, int64_t at) {
  switch (t.dtype) {
    case DType::kBF16:
      return BF16ToFloat(static_cast<const uint16_t*>(t.data)[at]);
    case DType::kF16:
      return F16ToFloat(static_cast<const uint16_t*>(t.data)[at]);
    default:
      return static_cast<const float*>(t.data)[at];
  }
}

// One output's inputs [first, first + n) of a tap into its column: element k goes to out[(k / step * columns) * step +
// k % step].
void PackColumn(const HostTensor& t, int64_t at, int64_t source_step, int64_t n, int64_t columns, Elem type,
                std::byte* out) {
  if (type == Elem::kF32) {
    float* to = reinterpret_cast<float*>(out);
    for (int64_t k = 0; k < n; ++k) to[k * columns] = ReadFloat(t, at + k * source_step);
    return;
  }
  uint16_t* to = reinterpret_cast<uint16_t*>(out);
  if (t.dtype == DType::kBF16) {  // the common case of big models: no conversion
    const uint16_t* from = static_cast<const uint16_t*>(t.data) + at;
    for (int64_t k = 0; k < n; ++k) to[(k >> 1) * columns * 2 + (k & 1)] = from[k * source_step];
    return;
  }
  for (int64_t k = 0; k < n; ++k) {
    to[(k >> 1) * columns * 2 + (k & 1)] = FloatToBF16(ReadFloat(t, at + k * source_step));
  }
}

}  // namespace

CpuKernel::CpuKernel(const KernelShape& shape, std::span<const HostTensor> weights, std::span<const HostTensor> biases,
                     bool gated, Elem type, const KernelTable& table, ThreadPool& pool)
    : PackedKernel(shape), type_(type), gated_(gated), lanes_(table.lanes), parts_(1) {
  const int vectors = gated ? PanelVectors(0, table) : PanelVectors(shape.outputs, table);
  const int64_t step = StepOf(type);
  const int64_t column_bytes = int64_t{vectors} * lanes_ * ElemBytes(type);
  // The fewest equal parts that fit, if the inputs divide by a number near it; else whole.
  const int64_t wanted = (shape.inputs * column_bytes + kPartBytes - 1) / kPartBytes;
  for (int64_t parts = wanted; parts < 2 * wanted + 2; ++parts) {
    if (shape.inputs % (parts * step) == 0) {
      parts_ = static_cast<int>(parts);
      break;
    }
  }
  part_k_ = RoundUp(shape.inputs / parts_, type == Elem::kBF16 ? table.bf16_k_multiple : 1);

  const int64_t taps = shape.taps();
  const int64_t width = int64_t{vectors} * lanes_ / (gated ? 2 : 1);  // outputs of a whole panel
  const int64_t padded = RoundUp(shape.outputs, gated ? width : lanes_);
  weights_ = Memory((gated ? 2 : 1) * padded * taps * parts_ * part_k_ * ElemBytes(type));
  for (int64_t column = 0; column < shape.outputs; column += width) {
    Panel p;
    p.first_column = column;
    p.columns = static_cast<int>(std::min(width, shape.outputs - column));
    p.vectors = gated ? vectors : static_cast<int>(RoundUp(p.columns, lanes_) / lanes_);
    p.data = weights_.data() + (gated ? 2 : 1) * column * taps * parts_ * part_k_ * ElemBytes(type);
    panels_.push_back(p);
  }

  pool.ParallelFor(static_cast<int64_t>(panels_.size()), [&](int64_t index, int) {
    const Panel& p = panels_[index];
    std::byte* const to = weights_.data() + (p.data - weights_.data());
    for (int i = 0; i < p.columns * (gated ? 2 : 1); ++i) {
      // Column c holds `row` of `tensor`.
      const bool up = i >= p.columns;
      const int64_t c = up ? width + i - p.columns : i;
      int64_t row = p.first_column + i - (up ? p.columns : 0);
      size_t tensor = up ? 1 : 0;
      while (!gated && row >= weights[tensor].shape[0]) row -= weights[tensor++].shape[0];
      for (int64_t tap = 0; tap < taps; ++tap) {
        for (int part = 0; part < parts_; ++part) {
          const int64_t input = part * part_inputs();
          PackColumn(weights[tensor], (row * shape.inputs + input) * taps + tap, taps, part_inputs(),
                     int64_t{p.vectors} * lanes_, type,
                     to + (tap * parts_ + part) * part_bytes(p) + c * step * ElemBytes(type));
        }
      }
    }
  });

  bias_ = Memory(padded * sizeof(float));
  int64_t at = 0;
  for (const HostTensor& t : biases) {
    for (int64_t i = 0; i < t.elements(); ++i) bias_.f32()[at++] = ReadFloat(t, i);
  }
  assert(at == 0 || at == shape.outputs);
}

int CpuKernel::chunk() const {
  const int64_t all = int64_t{shape().taps()} * parts_;
  return static_cast<int>(std::clamp<int64_t>(kPartBytes / part_bytes(panels_.front()), 1, all));
}

DepthwiseKernel::DepthwiseKernel(const HostTensor& weight, const HostTensor& bias)
    : PackedKernel({.outputs = weight.shape[0], .inputs = 1, .kt = 1, .kh = 3, .kw = 3}) {
  const int64_t channels = shape().outputs;
  memory_ = Memory(10 * channels * sizeof(float));
  for (int64_t c = 0; c < channels; ++c) {
    for (int t = 0; t < 9; ++t) memory_.f32()[t * channels + c] = ReadFloat(weight, c * 9 + t);
    memory_.f32()[9 * channels + c] = ReadFloat(bias, c);
  }
}

namespace {

// T is one multiply-add's worth of a row: a float, or a pair of bf16.
constexpr int PanelWidth(const KernelTable& table) { return (table.tile_rows[4] != 0 ? 4 : 2) * table.lanes; }

template <typename F>
void ForPanels(int64_t columns, const KernelTable& table, F&& f) {
  const int64_t width = PanelWidth(table);
  for (int64_t c = 0; c < columns; c += width) {
    const int64_t count = std::min(width, columns - c);
    f(c, count, RoundUp(count, table.lanes));
  }
}

}  // namespace

int64_t KeyElements(int64_t n, int64_t d, Elem type, const KernelTable& table) {
  return RoundUp(n, table.lanes) * RoundUp(d, StepOf(type));
}

int64_t ValueElements(int64_t n, int64_t d, Elem type, const KernelTable& table) {
  return RoundUp(d, table.lanes) * RoundUp(n, StepOf(type));
}

void PackKeys(const void* rows, int64_t stride, int64_t n, int64_t d, Elem type, const KernelTable& table, void* out) {
  std::memset(out, 0, KeyElements(n, d, type, table) * ElemBytes(type));
  std::byte* panel = static_cast<std::byte*>(out);
  const int64_t steps = RoundUp(d, StepOf(type)) / StepOf(type);
  ForPanels(n, table, [&](int64_t first, int64_t count, int64_t width) {
    auto* to = reinterpret_cast<uint32_t*>(panel);
    for (int64_t c = 0; c < count; ++c) {
      const auto* from = static_cast<const std::byte*>(rows) + (first + c) * stride * ElemBytes(type);
      for (int64_t k = 0; k < steps; ++k) {
        const bool half = type == Elem::kBF16 && 2 * k + 1 == d;
        std::memcpy(to + k * width + c, from + 4 * k, half ? 2 : 4);
      }
    }
    panel += steps * width * 4;
  });
}

void PackValues(const void* rows, int64_t stride, int64_t n, int64_t d, Elem type, const KernelTable& table,
                void* out) {
  std::memset(out, 0, ValueElements(n, d, type, table) * ElemBytes(type));
  std::byte* panel = static_cast<std::byte*>(out);
  ForPanels(d, table, [&](int64_t first, int64_t count, int64_t width) {
    for (int64_t k = 0; k < n; ++k) {
      if (type == Elem::kF32) {
        std::memcpy(reinterpret_cast<float*>(panel) + k * width, static_cast<const float*>(rows) + k * stride + first,
                    count * sizeof(float));
      } else {
        const auto* from = static_cast<const uint16_t*>(rows) + k * stride + first;
        auto* to = reinterpret_cast<uint16_t*>(panel) + (k >> 1) * width * 2 + (k & 1);
        for (int64_t c = 0; c < count; ++c) to[2 * c] = from[c];
      }
    }
    panel += RoundUp(n, StepOf(type)) * width * ElemBytes(type);
  });
}

}  // namespace longtake::cpu
