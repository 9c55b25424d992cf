// Weights in a backend's own layout. They are packed once, when a model is loaded.
#ifndef LONGTAKE_ENGINE_OPS_WEIGHTS_H_
#define LONGTAKE_ENGINE_OPS_WEIGHTS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

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

constexpr int64_t kBlockAlignment = 64;  // in bytes: a cache line, and the widest vector

// Part of a packed kernel or table as a file keeps it: read-only, aligned to kBlockAlignment, and with zeros at its end
// up to a multiple of that.
struct PackedBlock {
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;  // keeps the memory
};

// Which of the packer's functions has made a kernel.
enum class PackedForm { kPlain, kGated, kDepthwise };

// Opaque, because each backend has its own layout. Weights have the activation type or are quantized; biases are f32.
class PackedKernel {
 public:
  explicit PackedKernel(const KernelShape& shape) : shape_(shape) {}
  virtual ~PackedKernel() = default;
  const KernelShape& shape() const { return shape_; }
  virtual size_t bytes() const = 0;
  // The memory that holds it, for WeightPacker::Restore; empty: it cannot be restored.
  virtual std::vector<std::span<const std::byte>> blocks() const { return {}; }

 private:
  KernelShape shape_;
};

// Token embeddings: act [rows, width].
struct EmbeddingTable {
  std::unique_ptr<Buffer> data;
  int64_t rows = 0, width = 0;
};

// Where packed weights are kept between runs (models/folder/packed_cache.h).
struct PackedCacheOptions {
  std::string folder;                                // empty: nowhere
  std::function<void(const std::string& line)> log;  // may be null
};

// Throws std::bad_alloc if memory is short.
class WeightPacker {
 public:
  virtual ~WeightPacker() = default;

  void set_cache(PackedCacheOptions options) { cache_ = std::move(options); }
  const PackedCacheOptions& cache() const { return cache_; }
  // Equal layouts hold equal weights in equal bytes. Empty: this packer restores nothing.
  virtual std::string layout() const { return ""; }
  // Makes a kernel of the blocks of an earlier one, which `form` and `shape` describe, of the same layout. It uses
  // their memory. Null: blocks of such a kernel have other sizes.
  virtual std::unique_ptr<PackedKernel> Restore(PackedForm form, const KernelShape& shape,
                                                std::span<const PackedBlock> blocks);
  // The same of an embedding; `data` is null if the size differs.
  virtual EmbeddingTable RestoreEmbedding(int64_t rows, int64_t width, const PackedBlock& block);

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

  // Bytes of what has been restored: of mapped files, which the system counts as memory that is free.
  uint64_t restored_bytes() const { return restored_bytes_; }
  void CountRestored(uint64_t bytes) { restored_bytes_ += bytes; }

 private:
  PackedCacheOptions cache_;
  uint64_t restored_bytes_ = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_OPS_WEIGHTS_H_
