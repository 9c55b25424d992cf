#include "engine/cpu/weights.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/cpu/families.h"
#include "engine/cpu/packing.h"
#include "engine/cpu/views.h"

namespace longtake::cpu {

DType CpuWeightPacker::TypeOf(const KernelShape& shape) const {
  // 2^16 products of a byte and a signed byte fit into a 32-bit sum.
  constexpr int64_t kMostInputs = 1 << 16;
  const bool quantize = shape.low_precision && shape.inputs <= kMostInputs;
  return quantize ? low_precision_ : context_.activation_type;
}

std::string CpuWeightPacker::layout() const {
  return absl::StrCat("cpu, ", CpuKernel::Layout(context_.kernels), ", ", std::string(Name(context_.activation_type)),
                      " and ", std::string(Name(low_precision_)));
}

std::unique_ptr<PackedKernel> CpuWeightPacker::Restore(PackedForm form, const KernelShape& shape,
                                                       std::span<const PackedBlock> blocks) {
  if (form == PackedForm::kDepthwise) return DepthwiseKernel::Restore(shape.outputs, blocks);
  return CpuKernel::Restore(shape, TypeOf(shape), form == PackedForm::kGated, context_.kernels, blocks);
}

EmbeddingTable CpuWeightPacker::RestoreEmbedding(int64_t rows, int64_t width, const PackedBlock& block) {
  std::optional<Memory> memory = RestoredMemory(block, rows * width * SizeOf(context_.activation_type));
  if (!memory.has_value()) return {};
  return {.data = std::make_unique<CpuBuffer>(*std::move(memory)), .rows = rows, .width = width};
}

std::unique_ptr<PackedKernel> CpuWeightPacker::Pack(const KernelShape& shape, std::span<const HostTensor> weights,
                                                    std::span<const HostTensor> biases) {
  return std::make_unique<CpuKernel>(shape, TypeOf(shape), weights, biases, /*gated=*/false, context_);
}

std::unique_ptr<PackedKernel> CpuWeightPacker::PackGated(const KernelShape& shape, const HostTensor& gate,
                                                         const HostTensor& up) {
  const HostTensor weights[] = {gate, up};
  return std::make_unique<CpuKernel>(shape, TypeOf(shape), weights, std::span<const HostTensor>(), /*gated=*/true,
                                     context_);
}

std::unique_ptr<PackedKernel> CpuWeightPacker::PackDepthwise(const HostTensor& weight, const HostTensor& bias) {
  return std::make_unique<DepthwiseKernel>(weight, bias);
}

EmbeddingTable CpuWeightPacker::PackEmbedding(const HostTensor& table) {
  const DType type = context_.activation_type;
  const int64_t n = table.elements();
  EmbeddingTable packed = {
      .data = std::make_unique<CpuBuffer>(n * SizeOf(type)), .rows = table.shape[0], .width = n / table.shape[0]};
  const ConstMat all = MakeMat(table.data, table.dtype, n, 1);
  const Mat to_all = MakeMat(packed.data->data(), type, n, 1);
  constexpr int64_t kChunk = 1 << 16;
  context_.ParallelFor((n + kChunk - 1) / kChunk, [&](int64_t task, int) {
    const int64_t first = task * kChunk, count = std::min(kChunk, n - first);
    // Treats the chunk as one long row.
    const ConstMat from = MakeMat(all.Rows(first, count).data, table.dtype, 1, count);
    const Mat to = MakeMat(to_all.Rows(first, count).data, type, 1, count);
    if (from.dtype == DType::kF16) {
      for (int64_t i = 0; i < count; ++i) {
        WriteElement(to, 0, i, F16ToFloat(static_cast<const uint16_t*>(from.data)[i]));
      }
    } else if (from.dtype == to.dtype) {
      std::memcpy(to.data, from.data, count * SizeOf(type));
    } else {
      context_.kernels.activate(from, Activation::kNone, to);
    }
  });
  return packed;
}

std::unique_ptr<WeightPacker> MakeWeightPacker(Context& context, Quantization quantization) {
  if (IsEmulated(quantization)) return MakeQuantizedWeightPacker(context, quantization);
  const DType low_precision = quantization == Quantization::kInt8 ? DType::kI8 : context.activation_type;
  return std::make_unique<CpuWeightPacker>(context, low_precision);
}

}  // namespace longtake::cpu
