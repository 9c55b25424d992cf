#include "engine/cpu/packing.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
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

// Outputs of a weight without taps lie one after the other.
std::vector<float> ReadOutput(const HostTensor& t, int64_t output, int64_t inputs) {
  const auto* data = static_cast<const std::byte*>(t.data) + output * inputs * BytesOf(t.dtype);
  return ToFloats({data, t.dtype, {inputs}});
}

// NaN if one of the numbers is not finite.
float LargestMagnitude(std::span<const float> weights) {
  float largest = 0.f, not_finite = 0.f;
  for (const float w : weights) {
    largest = std::max(largest, std::abs(w));
    not_finite += w * 0.f;
  }
  return largest + not_finite;
}

// Packs weights, rounded to whole multiples of `largest` / 127, into their column: fours of inputs, `columns` of them
// apart. Returns the sum of the whole numbers.
int32_t PackInt8Column(std::span<const float> weights, float largest, int64_t columns, std::byte* out) {
  const float inverse = largest > 0.f ? 127.f / largest : 0.f;
  int32_t sum = 0;
  for (size_t k = 0; k < weights.size(); k += 4) {
    int8_t four[4] = {};
    for (size_t i = 0; i < 4 && k + i < weights.size(); ++i) {
      // 1.5 * 2^23 + x is rounded to a whole number, ties to even, and its low byte is that of the rounded x.
      four[i] = static_cast<int8_t>(std::bit_cast<uint32_t>(weights[k + i] * inverse + 0x1.8p23f));
      sum += four[i];
    }
    std::memcpy(out + static_cast<int64_t>(k) * columns, four, sizeof(four));
  }
  return sum;
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

std::optional<Memory> RestoredMemory(const PackedBlock& block, size_t bytes) {
  const size_t padded = static_cast<size_t>(RoundUp(static_cast<int64_t>(bytes), kBlockAlignment));
  if (block.bytes.size() != padded) return std::nullopt;
  return Memory(block.bytes.first(bytes), block.owner);
}

CpuKernel::CpuKernel(const KernelShape& shape, DType type, bool gated, const KernelTable& table)
    : PackedKernel(shape), type_(type), gated_(gated), lanes_(table.lanes), parts_(1) {
  const int vectors = gated ? PanelVectors(0, table) : PanelVectors(shape.outputs, table);
  const int64_t multiple = type == DType::kI8     ? table.int8_k_multiple
                           : type == DType::kBF16 ? table.bf16_k_multiple
                                                  : 1;
  // Rows of bytes are read up to the multiple, so only their last part may end before one.
  const int64_t part_step = type == DType::kI8 ? multiple : StepOf(type);
  const int64_t column_bytes = int64_t{vectors} * lanes_ * BytesOf(type);
  // The smallest number of equal parts that fit, if one near it divides the inputs; else one part.
  const int64_t wanted = (shape.inputs * column_bytes + kPartBytes - 1) / kPartBytes;
  for (int64_t parts = wanted; parts < 2 * wanted + 2; ++parts) {
    if (shape.inputs % (parts * part_step) == 0) {
      parts_ = static_cast<int>(parts);
      break;
    }
  }
  part_k_ = RoundUp(shape.inputs / parts_, multiple);
  full_panel_ = int64_t{vectors} * lanes_ / (gated ? 2 : 1);
  for (int64_t column = 0; column < shape.outputs; column += full_panel_) {
    Panel p;
    p.first_column = column;
    p.columns = static_cast<int>(std::min(full_panel_, shape.outputs - column));
    p.vectors = gated ? vectors : static_cast<int>(RoundUp(p.columns, lanes_) / lanes_);
    panels_.push_back(p);
  }
}

int64_t CpuKernel::padded_outputs() const { return RoundUp(shape().outputs, gated_ ? full_panel_ : lanes_); }

std::vector<Memory*> CpuKernel::Memories() {
  if (type_ == DType::kI8) return {&weights_, &bias_, &offsets_, &scales_};
  return {&weights_, &bias_};
}

std::vector<size_t> CpuKernel::Sizes() const {
  const int64_t columns = (gated_ ? 2 : 1) * padded_outputs();
  std::vector<size_t> sizes = {static_cast<size_t>(columns * shape().taps() * parts_ * part_k_ * BytesOf(type_)),
                               padded_outputs() * sizeof(float)};
  if (type_ == DType::kI8) sizes.insert(sizes.end(), {columns * sizeof(int32_t), columns * sizeof(float)});
  return sizes;
}

void CpuKernel::SetPanelData() {
  const int64_t column_bytes = int64_t{shape().taps()} * parts_ * part_k_ * BytesOf(type_);
  for (Panel& p : panels_) p.data = weights_.data() + at(p) * column_bytes;
}

CpuKernel::CpuKernel(const KernelShape& shape, DType type, std::span<const HostTensor> weights,
                     std::span<const HostTensor> biases, bool gated, Context& context)
    : CpuKernel(shape, type, gated, context.kernels) {
  Require(type != DType::kI8 || shape.taps() == 1, "Pack", "an int8 kernel has one tap");
  const std::vector<Memory*> memories = Memories();
  const std::vector<size_t> sizes = Sizes();
  for (size_t i = 0; i < memories.size(); ++i) *memories[i] = Memory(sizes[i]);
  SetPanelData();
  context.ParallelFor(static_cast<int64_t>(panels_.size()), [&](int64_t index, int) { Fill(panels_[index], weights); });

  int64_t at = 0;
  for (const HostTensor& t : biases) {
    for (int64_t i = 0; i < t.elements(); ++i) bias_.f32()[at++] = ReadFloat(t, i);
  }
  Require(at == 0 || at == shape.outputs, "Pack", "there is a bias for each output or none");
}

void CpuKernel::Fill(const Panel& p, std::span<const HostTensor> weights) {
  std::byte* const to = weights_.data() + (p.data - weights_.data());
  const int64_t taps = shape().taps(), inputs = shape().inputs, step = StepOf(type_);
  for (int i = 0; i < p.columns * (gated_ ? 2 : 1); ++i) {
    // Column c holds row `row` of weight `tensor`.
    const bool up = i >= p.columns;
    const int64_t c = up ? full_panel_ + i - p.columns : i;
    int64_t row = p.first_column + i - (up ? p.columns : 0);
    size_t tensor = up ? 1 : 0;
    while (!gated_ && row >= weights[tensor].shape[0]) row -= weights[tensor++].shape[0];
    const int64_t columns = int64_t{p.vectors} * lanes_;
    const auto column = [&](int64_t tap, int64_t part) {
      return to + (tap * parts_ + part) * part_bytes(p) + c * step * BytesOf(type_);
    };
    if (type_ == DType::kI8) {
      const std::vector<float> values = ReadOutput(weights[tensor], row, inputs);
      const float largest = LargestMagnitude(values);
      int32_t sum = 0;
      for (int part = 0; part < parts_; ++part) {
        const auto of_part = std::span(values).subspan(part * part_inputs(), part_inputs());
        sum += PackInt8Column(of_part, largest, columns, column(0, part));
      }
      scales_.f32()[at(p) + c] = largest / 127.f;
      reinterpret_cast<int32_t*>(offsets_.data())[at(p) + c] = -128 * sum;
      continue;
    }
    for (int64_t tap = 0; tap < taps; ++tap) {
      for (int part = 0; part < parts_; ++part) {
        const int64_t input = part * part_inputs();
        PackColumn(weights[tensor], (row * inputs + input) * taps + tap, taps, part_inputs(), columns, type_,
                   column(tap, part));
      }
    }
  }
}

std::unique_ptr<CpuKernel> CpuKernel::Restore(const KernelShape& shape, DType type, bool gated,
                                              const KernelTable& table, std::span<const PackedBlock> blocks) {
  std::unique_ptr<CpuKernel> kernel(new CpuKernel(shape, type, gated, table));
  const std::vector<Memory*> memories = kernel->Memories();
  const std::vector<size_t> sizes = kernel->Sizes();
  if (blocks.size() != memories.size()) return nullptr;
  for (size_t i = 0; i < memories.size(); ++i) {
    std::optional<Memory> memory = RestoredMemory(blocks[i], sizes[i]);
    if (!memory.has_value()) return nullptr;
    *memories[i] = *std::move(memory);
  }
  kernel->SetPanelData();
  return kernel;
}

std::string CpuKernel::Layout(const KernelTable& table) {
  // The number changes with this file, where that changes what is packed.
  return absl::StrCat("panels 1, lanes ", table.lanes, ", vectors ", PanelVectors(0, table), ", part ", kPartBytes,
                      ", multiples ", table.bf16_k_multiple, " ", table.int8_k_multiple);
}

std::vector<std::span<const std::byte>> CpuKernel::blocks() const {
  std::vector<std::span<const std::byte>> all = {weights_.bytes(), bias_.bytes()};
  if (type_ == DType::kI8) all.insert(all.end(), {offsets_.bytes(), scales_.bytes()});
  return all;
}

int CpuKernel::chunk() const {
  const int64_t all = int64_t{shape().taps()} * parts_;
  return static_cast<int>(std::clamp<int64_t>(kPartBytes / part_bytes(panels_.front()), 1, all));
}

DepthwiseKernel::DepthwiseKernel(int64_t channels, Memory memory)
    : PackedKernel({.outputs = channels, .inputs = 1, .kt = 1, .kh = 3, .kw = 3}), memory_(std::move(memory)) {}

DepthwiseKernel::DepthwiseKernel(const HostTensor& weight, const HostTensor& bias)
    : DepthwiseKernel(weight.shape[0], Memory(Bytes(weight.shape[0]))) {
  const int64_t channels = shape().outputs;
  for (int64_t c = 0; c < channels; ++c) {
    for (int t = 0; t < 9; ++t) memory_.f32()[t * channels + c] = ReadFloat(weight, c * 9 + t);
    memory_.f32()[9 * channels + c] = ReadFloat(bias, c);
  }
}

std::unique_ptr<DepthwiseKernel> DepthwiseKernel::Restore(int64_t channels, std::span<const PackedBlock> blocks) {
  if (blocks.size() != 1) return nullptr;
  std::optional<Memory> memory = RestoredMemory(blocks[0], Bytes(channels));
  if (!memory.has_value()) return nullptr;
  return std::unique_ptr<DepthwiseKernel>(new DepthwiseKernel(channels, *std::move(memory)));
}

}  // namespace longtake::cpu
