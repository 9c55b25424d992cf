// Weights as the device keeps them.
#ifndef LONGTAKE_ENGINE_CUDA_WEIGHTS_H_
#define LONGTAKE_ENGINE_CUDA_WEIGHTS_H_

#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "engine/cuda/context.h"
#include "engine/cuda/matmul.h"
#include "engine/ops/ops.h"
#include "engine/quantization/narrow_rows.h"

namespace longtake::cuda {

inline int64_t RoundUp(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// A dense kernel or a convolution's: row-major [outputs][tap][input], with zeros behind each row up to a multiple of 16
// columns, of e2m1 32, so that every row begins at 16 bytes.
class CudaKernel : public PackedKernel {
 public:
  // Gated kernels stack the rows of G and U: outputs of each is shape.outputs, rows() twice that.
  CudaKernel(const KernelShape& shape, int64_t rows) : PackedKernel(shape), rows_(rows) {}

  size_t bytes() const override { return bytes_; }
  int64_t rows() const { return rows_; }
  // Rows of the matrix on the device: zeros behind rows(), up to a multiple of kProductOutputs.
  int64_t product_rows() const { return RoundUp(rows_, kProductOutputs); }
  int64_t inputs() const { return shape().taps() * shape().inputs; }  // of all taps
  // Elements between rows; of weights that are uploaded.
  int64_t stride() const { return RoundUp(inputs(), operand_.type == OperandType::kNvfp4 ? 32 : 16); }
  const Operand& operand() const { return operand_; }
  // Elements of tap t begin at column t * shape().inputs. Null where the weights are not bf16.
  const void* bf16() const { return operand_.type == OperandType::kBf16 ? operand_.data : nullptr; }
  // f32 [product_rows()], zeros where the layer has none.
  const float* bias() const { return static_cast<const float*>(bias_.get()); }
  bool has_bias() const { return has_bias_; }
  // The same in bf16, rounded: for products whose results are bf16, or whose operands are narrower. Null without bias.
  const void* bias_bf16() const { return bias_bf16_.get(); }
  // kNvfp4: the whole matrix's float32 scale.
  const float* tensor_scale() const { return static_cast<const float*>(tensor_scale_.get()); }

  // `weights` [rows * inputs()] and `bias` [rows] or empty, f32 on the host, in the device's order of columns.
  absl::Status Upload(Context& context, OperandType type, std::span<const float> weights, std::span<const float> bias);
  // The same for weights that are quantized as `type` already.
  absl::Status Upload(Context& context, OperandType type, std::span<const QuantizedMatrix> weights,
                      std::span<const float> bias);
  // The same for bf16 weights of one tap whose rows need no padding, as big models' are: straight from where they lie.
  absl::Status UploadBf16(Context& context, std::span<const HostTensor> weights, std::span<const float> bias);

 private:
  // `narrow` has the type of operand_.
  absl::Status UploadRows(Context& context, NarrowRows narrow, std::span<const float> bias);
  absl::Status UploadBias(Context& context, std::span<const float> bias);

  int64_t rows_;
  size_t bytes_ = 0;
  Operand operand_;
  bool has_bias_ = false;
  DeviceMemory weights_, scales_, bias_, bias_bf16_, tensor_scale_;
};

// Depthwise weights f32 [9][C] and bias [C].
class CudaDepthwise : public PackedKernel {
 public:
  explicit CudaDepthwise(int64_t channels)
      : PackedKernel({.outputs = channels, .inputs = 1, .kt = 1, .kh = 3, .kw = 3}) {}
  size_t bytes() const override { return 10 * shape().outputs * sizeof(float); }
  const float* weight() const { return static_cast<const float*>(memory_.get()); }
  const float* bias() const { return weight() + 9 * shape().outputs; }

  absl::Status Upload(Context& context, std::span<const float> weight_and_bias);

 private:
  DeviceMemory memory_;
};

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_WEIGHTS_H_
