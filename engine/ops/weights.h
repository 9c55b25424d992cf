// Weights in a backend's own layout, packed once when a model is loaded.
#ifndef LONGTAKE_ENGINE_OPS_WEIGHTS_H_
#define LONGTAKE_ENGINE_OPS_WEIGHTS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "engine/core/tensor.h"
#include "engine/ops/device.h"

namespace longtake {

// A kernel over taps: a dense layer has one tap, the temporal convolution three, a 3x3x3 convolution 27.
struct KernelShape {
  int64_t outputs = 0;  // output channels
  int64_t inputs = 0;   // input channels of one tap
  int kt = 1, kh = 1, kw = 1;
  // The backend may quantize this kernel further than the activation type (specification, section 7).
  bool low_precision = false;
  int taps() const { return kt * kh * kw; }
};

// Opaque: each backend has its own layout. Weights are in the activation type or quantized, the bias is f32.
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

// Throws std::bad_alloc where memory is short.
class WeightPacker {
 public:
  virtual ~WeightPacker() = default;

  // `weights` [outputs, inputs, kt, kh, kw] (trailing dimensions of one may be left out), of any float type; `biases`
  // [outputs] or none. Several weights stacked along outputs make one kernel (q, k, v).
  virtual std::unique_ptr<PackedKernel> Pack(const KernelShape& shape, std::span<const HostTensor> weights,
                                             std::span<const HostTensor> biases) = 0;
  // Two weights [outputs, inputs] without bias, for DenseOps::LinearGated.
  virtual std::unique_ptr<PackedKernel> PackGated(const KernelShape& shape, const HostTensor& gate,
                                                  const HostTensor& up) = 0;
  // Depthwise 3x3 weights [C, 1, 3, 3] and bias [C], for ConvolutionOps::DepthwiseGlu.
  virtual std::unique_ptr<PackedKernel> PackDepthwise(const HostTensor& weight, const HostTensor& bias) = 0;
  // [rows, width], for DenseOps::Embed.
  virtual EmbeddingTable PackEmbedding(const HostTensor& table) = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_OPS_WEIGHTS_H_
