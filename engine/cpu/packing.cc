#include "engine/cpu/packing.h"

#include <algorithm>
#include <cstring>

#include "engine/core/float16.h"
#include "engine/ops/check.h"

namespace longtake::cpu {
namespace {

// Limit for one part of a panel: a third of a 1 MiB L2 cache, because rows and results pass through the cache too.
constexpr int64_t kPartBytes = 336 << 10;

// Chooses the widest panel that wastes no vectors: 64 columns, or 48 if the outputs are a multiple of 48 and not of 64
// (96 outputs in the VAE).
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

// Packs inputs [first, first + n) of one tap of one output into its column: element k goes to out[(k / step * columns)
// * step + k % step].
void PackColumn(const HostTensor& t, int64_t at, int64_t source_step, int64_t n, int64_t columns, DType type,
                std::byte* out) {
  if (type == DType::kF32) {
    float* to = reinterpret_cast<float*>(out);
    for (int64_t k = 0; k < n; ++k) to[k * columns] = ReadFloat(t, at + k * source_step);
    return;
  }
  uint16_t* to = reinterpret_cast<uint16_t*>(out);
  if (t.dtype == DType::kBF16) {  // the usual case for large models: no conversion
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
                     bool gated, Context& context)
    : PackedKernel(shape), type_(context.activation_type), gated_(gated), lanes_(context.kernels.lanes), parts_(1) {
  const KernelTable& table = context.kernels;
  const DType type = type_;
  const int vectors = gated ? PanelVectors(0, table) : PanelVectors(shape.outputs, table);
  const int64_t step = type == DType::kBF16 ? 2 : 1;  // inputs of one multiply-add: bf16 is processed in pairs
  const int64_t column_bytes = int64_t{vectors} * lanes_ * BytesOf(type);
  // The smallest number of equal parts that fit, if one near it divides the inputs; else one part.
  const int64_t wanted = (shape.inputs * column_bytes + kPartBytes - 1) / kPartBytes;
  for (int64_t parts = wanted; parts < 2 * wanted + 2; ++parts) {
    if (shape.inputs % (parts * step) == 0) {
      parts_ = static_cast<int>(parts);
      break;
    }
  }
  part_k_ = RoundUp(shape.inputs / parts_, type == DType::kBF16 ? table.bf16_k_multiple : 1);

  const int64_t taps = shape.taps();
  const int64_t width = int64_t{vectors} * lanes_ / (gated ? 2 : 1);  // outputs of a full panel
  const int64_t padded = RoundUp(shape.outputs, gated ? width : lanes_);
  weights_ = Memory((gated ? 2 : 1) * padded * taps * parts_ * part_k_ * BytesOf(type));
  for (int64_t column = 0; column < shape.outputs; column += width) {
    Panel p;
    p.first_column = column;
    p.columns = static_cast<int>(std::min(width, shape.outputs - column));
    p.vectors = gated ? vectors : static_cast<int>(RoundUp(p.columns, lanes_) / lanes_);
    p.data = weights_.data() + (gated ? 2 : 1) * column * taps * parts_ * part_k_ * BytesOf(type);
    panels_.push_back(p);
  }

  context.ParallelFor(static_cast<int64_t>(panels_.size()), [&](int64_t index, int) {
    const Panel& p = panels_[index];
    std::byte* const to = weights_.data() + (p.data - weights_.data());
    for (int i = 0; i < p.columns * (gated ? 2 : 1); ++i) {
      // Column c holds row `row` of weight `tensor`.
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
                     to + (tap * parts_ + part) * part_bytes(p) + c * step * BytesOf(type));
        }
      }
    }
  });

  bias_ = Memory(padded * sizeof(float));
  int64_t at = 0;
  for (const HostTensor& t : biases) {
    for (int64_t i = 0; i < t.elements(); ++i) bias_.f32()[at++] = ReadFloat(t, i);
  }
  Require(at == 0 || at == shape.outputs, "Pack", "there is a bias for each output or none");
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

}  // namespace longtake::cpu
