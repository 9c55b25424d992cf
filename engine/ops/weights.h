// Weights in a backend's own layout. They are packed once, when a model is loaded.
#ifndef LONGTAKE_ENGINE_OPS_WEIGHTS_H_
#define LONGTAKE_ENGINE_OPS_WEIGHTS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "engine/core/quantized_matrix.h"
#include "engine/core/tensor.h"
#include "engine/ops/device.h"

namespace longtake {

// The shape of a kernel: a dense layer has one tap, the temporal convolution three, a 3x3x3 convolution 27.
struct KernelShape {
  int64_t outputs = 0;  // output channels
  int64_t inputs = 0;   // input channels of one tap
  int kt = 1, kh = 1, kw = 1;
  // Allows the backend to quantize this kernel to fewer bits than the activation type (specification section 7).
  bool low_precision = false;
  int taps() const { return kt * kh * kw; }
};

// Opaque, because each backend has its own layout. Weights have the activation type or are quantized; biases are f32.
class PackedKernel {
 public:
  explicit PackedKernel(const KernelShape& shape) : shape_(shape) {}
  virtual ~PackedKernel() = default;
  const KernelShape& shape() const { return shape_; }
  virtual size_t bytes() const = 0;

 private:
  KernelShape shape_;
};

// Token embeddings: act [rows, width].
struct EmbeddingTable {
  std::unique_ptr<Buffer> data;
  int64_t rows = 0, width = 0;
};

// Throws std::bad_alloc if memory is short.
class WeightPacker {
 public:
  virtual ~WeightPacker() = default;

  // `weights` [outputs, inputs, kt, kh, kw], of any float type; trailing dimensions of size 1 may be omitted. `biases`
  // [outputs], or none. Several weights are stacked along outputs into one kernel (q, k, v).
  virtual std::unique_ptr<PackedKernel> Pack(const KernelShape& shape, std::span<const HostTensor> weights,
                                             std::span<const HostTensor> biases) = 0;
  // How the kernels of low_precision are quantized. kNone: they are not, and have the activation type.
  virtual Quantization quantization() const { return Quantization::kNone; }
  // Like Pack, of weights that a file has quantized in that way, which stay as they are. The kernel has one tap and
  // low_precision. Several weights need the same tensor_scale.
  virtual std::unique_ptr<PackedKernel> PackQuantized(const KernelShape& shape,
                                                      std::span<const QuantizedMatrix> weights,
                                                      std::span<const HostTensor> biases);
  // Packs two weights [outputs, inputs] without bias, for DenseOps::LinearGated.
  virtual std::unique_ptr<PackedKernel> PackGated(const KernelShape& shape, const HostTensor& gate,
                                                  const HostTensor& up) = 0;
  // Packs depthwise 3x3 weights [C, 1, 3, 3] and a bias [C], for ConvolutionOps::DepthwiseGlu.
  virtual std::unique_ptr<PackedKernel> PackDepthwise(const HostTensor& weight, const HostTensor& bias) = 0;
  // Packs [rows, width], for DenseOps::Embed.
  virtual EmbeddingTable PackEmbedding(const HostTensor& table) = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_OPS_WEIGHTS_H_
