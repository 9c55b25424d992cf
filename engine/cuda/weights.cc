#include "engine/cuda/weights.h"

#include <algorithm>
#include <vector>

#include "common/status_macros.h"
#include "engine/core/float16.h"
#include "engine/cuda/status.h"
#include "engine/quantization/formats.h"
#include "engine/quantization/narrow_rows.h"

namespace longtake::cuda {
namespace {

NarrowRows ToBf16Rows(std::span<const float> weights, int64_t rows, int64_t columns, int64_t stride) {
  NarrowRows out;
  out.data.resize(rows * stride * 2);
  auto* to = reinterpret_cast<uint16_t*>(out.data.data());
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) to[r * stride + c] = FloatToBF16(weights[r * columns + c]);
  }
  return out;
}

NarrowRows ToRows(OperandType type, std::span<const float> weights, int64_t rows, int64_t columns, int64_t stride) {
  switch (type) {
    case OperandType::kE4m3:
      return ToE4m3Rows(weights, rows, columns, stride);
    case OperandType::kNvfp4:
      return ToNvfp4Rows(weights, rows, columns, stride);
    case OperandType::kBf16:
      break;
  }
  return ToBf16Rows(weights, rows, columns, stride);
}

size_t RowBytes(OperandType type, int64_t stride) {
  const int bits = type == OperandType::kBf16 ? 16 : type == OperandType::kE4m3 ? 8 : 4;
  return static_cast<size_t>(stride * bits / 8);
}

absl::StatusOr<DeviceMemory> ToDevice(Context& context, const void* host, size_t bytes, size_t* total) {
  ASSIGN_OR_RETURN(DeviceMemory memory, AllocateDevice(bytes));
  if (bytes > 0) {
    RETURN_IF_ERROR(
        ToStatus(cudaMemcpyAsync(memory.get(), host, bytes, cudaMemcpyHostToDevice, context.stream()), "weights"));
  }
  *total += bytes;
  return memory;
}

}  // namespace

absl::Status CudaKernel::Upload(Context& context, OperandType type, std::span<const float> weights,
                                std::span<const float> bias) {
  operand_.type = type;
  return UploadRows(context, ToRows(type, weights, rows_, inputs(), stride()), bias);
}

absl::Status CudaKernel::Upload(Context& context, OperandType type, std::span<const QuantizedMatrix> weights,
                                std::span<const float> bias) {
  operand_.type = type;
  return UploadRows(context, StackRows(weights, stride()), bias);
}

absl::Status CudaKernel::UploadRows(Context& context, NarrowRows narrow, std::span<const float> bias) {
  const OperandType type = operand_.type;
  narrow.data.resize(product_rows() * RowBytes(type, stride()));
  if (type == OperandType::kE4m3) narrow.scales.resize(product_rows() * sizeof(float));
  ASSIGN_OR_RETURN(weights_, ToDevice(context, narrow.data.data(), narrow.data.size(), &bytes_));
  ASSIGN_OR_RETURN(scales_, ToDevice(context, narrow.scales.data(), narrow.scales.size(), &bytes_));
  operand_ = {.type = type, .data = weights_.get(), .stride = stride(), .scales = scales_.get()};
  if (type == OperandType::kNvfp4) {
    const float both = narrow.tensor_scale * kNvfp4ActivationScale;
    ASSIGN_OR_RETURN(tensor_scale_, ToDevice(context, &both, sizeof both, &bytes_));
  }
  return UploadBias(context, bias);
}

absl::Status CudaKernel::UploadBf16(Context& context, std::span<const HostTensor> weights,
                                    std::span<const float> bias) {
  bytes_ = product_rows() * RowBytes(OperandType::kBf16, stride());
  ASSIGN_OR_RETURN(weights_, AllocateDevice(bytes_));
  auto* to = static_cast<std::byte*>(weights_.get());
  const size_t filled = rows_ * RowBytes(OperandType::kBf16, stride());
  RETURN_IF_ERROR(ToStatus(cudaMemsetAsync(to + filled, 0, bytes_ - filled, context.stream()), "weights"));
  for (const HostTensor& t : weights) {
    const size_t part = t.elements() * sizeof(uint16_t);
    RETURN_IF_ERROR(ToStatus(cudaMemcpyAsync(to, t.data, part, cudaMemcpyHostToDevice, context.stream()), "weights"));
    to += part;
  }
  operand_ = {.type = OperandType::kBf16, .data = weights_.get(), .stride = stride()};
  return UploadBias(context, bias);
}

absl::Status CudaKernel::UploadBias(Context& context, std::span<const float> bias) {
  has_bias_ = !bias.empty();
  std::vector<float> padded(product_rows());
  std::copy(bias.begin(), bias.end(), padded.begin());
  ASSIGN_OR_RETURN(bias_, ToDevice(context, padded.data(), padded.size() * sizeof(float), &bytes_));
  if (!has_bias_) return absl::OkStatus();
  std::vector<uint16_t> rounded;
  for (const float v : padded) rounded.push_back(FloatToBF16(v));
  ASSIGN_OR_RETURN(bias_bf16_, ToDevice(context, rounded.data(), rounded.size() * sizeof(uint16_t), &bytes_));
  return absl::OkStatus();
}

absl::Status CudaDepthwise::Upload(Context& context, std::span<const float> weight_and_bias) {
  size_t total = 0;
  ASSIGN_OR_RETURN(memory_, ToDevice(context, weight_and_bias.data(), weight_and_bias.size_bytes(), &total));
  return absl::OkStatus();
}

}  // namespace longtake::cuda
