// Helpers for loading weights of models.
#ifndef LONGTAKE_ENGINE_MODELS_FOLDER_WEIGHT_LOADER_H_
#define LONGTAKE_ENGINE_MODELS_FOLDER_WEIGHT_LOADER_H_

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/core/quantized_matrix.h"
#include "engine/core/safetensors.h"
#include "engine/models/folder/packed_cache.h"
#include "engine/ops/ops.h"

namespace longtake {

// Reports the bytes of weights read so far and in total, for one module.
using LoadProgress = std::function<void(uint64_t done, uint64_t total)>;

// A layer with a weight, as it has been loaded.
struct LoadedLayer {
  std::string name;                      // of the weight, without ".weight"
  const PackedKernel* kernel = nullptr;  // null: a depthwise convolution
  int64_t first_output = 0;              // in the kernel, where several layers are stacked
  std::vector<int64_t> weight_shape;     // as the file has it: [outputs, inputs, kernel dimensions...]
};

// Reads tensors of one store and packs them for a backend. Weights that the file holds quantized stay as they are where
// the backend quantizes in the same way, and become numbers elsewhere; another way is refused, for it would round them
// a second time. Of such a file, the weights that are not quantized stay so. The first error is kept and returned by
// Finish(), and later calls do nothing, so that loading code reads as a list of names.
class WeightLoader {
 public:
  WeightLoader(Ops& ops, TensorStore& store, LoadProgress progress);

  // Reads the weights `names`[i] + ".weight", each of shape [outputs / n, inputs, kernel_dims...] for n names, and
  // stacks them along outputs; with_bias: also ".bias". `kernel_dims` is empty for a Linear.
  std::unique_ptr<PackedKernel> Kernel(const std::vector<std::string>& names, const KernelShape& shape,
                                       const std::vector<int64_t>& kernel_dims, bool with_bias);
  // Reads outputs [first, first + shape.outputs) of `name`, which has `outputs` outputs and a bias.
  std::unique_ptr<PackedKernel> KernelPart(const std::string& name, int64_t outputs, int64_t first,
                                           const KernelShape& shape, const std::vector<int64_t>& kernel_dims);
  std::unique_ptr<PackedKernel> Linear(const std::vector<std::string>& names, int64_t outputs, int64_t inputs,
                                       bool with_bias) {
    return Kernel(names, {.outputs = outputs, .inputs = inputs}, {}, with_bias);
  }
  // Reads Linears with the same inputs and different numbers of outputs, {name, outputs} each, and stacks them along
  // outputs.
  std::unique_ptr<PackedKernel> Stacked(const std::vector<std::pair<std::string, int64_t>>& parts, int64_t inputs,
                                        bool with_bias, bool low_precision);
  // Reads two Linears of `shape` without bias, for DenseOps::LinearGated.
  std::unique_ptr<PackedKernel> Gated(const std::string& gate, const std::string& up, const KernelShape& shape);
  // Reads a convolution whose stride equals its kernel. It is packed as a dense layer over patches, with the channel as
  // slowest index.
  std::unique_ptr<PackedKernel> PatchEmbedding(const std::string& name, int64_t outputs, int64_t channels,
                                               const std::array<int, 3>& patch);
  std::unique_ptr<PackedKernel> Depthwise(const std::string& name, int64_t channels);
  // Reads a vector or table as f32 into backend memory; `name` is the tensor's full name.
  std::unique_ptr<Buffer> Floats(const std::string& name, const std::vector<int64_t>& shape);
  // The same, in host memory.
  std::vector<float> HostFloats(const std::string& name, const std::vector<int64_t>& shape);
  EmbeddingTable Embedding(const std::string& name, int64_t rows, int64_t width);
  // Packs values that the caller has made of tensors: `weight` [outputs, inputs, kt, kh, kw], `bias` [outputs] or none.
  std::unique_ptr<PackedKernel> Pack(const KernelShape& shape, const std::vector<float>& weight,
                                     const std::vector<float>& bias);

  // Only checks that the tensor exists and has that shape, for parts that are not loaded.
  void Check(const std::string& name, const std::vector<int64_t>& shape);

  // Adds an error about values that the caller has read. `what` names the tensor.
  void Fail(const std::string& what);

  // Returns the first error, or an error that names a tensor that was not read.
  absl::Status Finish();
  size_t packed_bytes() const { return packed_bytes_; }
  // The layers of Kernel, Linear, PatchEmbedding and Depthwise. Their kernels are those that were returned.
  const std::vector<LoadedLayer>& layers() const { return layers_; }

 private:
  struct Tensor {
    std::string name;
    std::vector<int64_t> shape;
  };
  // A kernel that the cache may have.
  struct Kept {
    std::string name;  // in the cache; empty: there is no cache
    PackedForm form;
    KernelShape shape;
  };

  // The tensor is valid until the store's memory is recycled. ResourceExhausted: the host has too little memory for it.
  // Without that check Linux would grant the memory and kill the process when it is first written.
  HostTensor Get(const std::string& name, const std::vector<int64_t>& shape);
  // Reads `name` + ".weight" as numbers.
  HostTensor Weight(const std::string& name, const std::vector<int64_t>& shape);
  // The same of a weight that has been read.
  HostTensor Numbers(const QuantizedMatrix& matrix, const std::vector<int64_t>& shape);
  // Reads the weights of a kernel of low precision as the file has quantized them. Returns none if not all of them are
  // quantized as the backend quantizes.
  std::vector<QuantizedMatrix> Quantized(const std::vector<std::string>& names, const std::vector<int64_t>& shape);
  // Returns `shape` without low_precision if the file is quantized.
  KernelShape AsStored(const std::vector<std::string>& names, KernelShape shape);
  QuantizedMatrix ReadQuantized(const std::string& name, const std::vector<int64_t>& shape);
  // Frees the tensors that were read. Packing has copied from them; asynchronous backends, too, copy before they
  // return.
  void Recycle();
  // Names a kernel of the tensors `names`.
  Kept Named(PackedForm form, const std::string& names, const KernelShape& shape);
  // Takes the kernel from the cache, after checking that its tensors exist, which are then not read. Null: it is not
  // there, or a tensor is at fault.
  std::unique_ptr<PackedKernel> Restored(const Kept& kept, const std::vector<Tensor>& tensors);
  void CountRestored(size_t bytes);
  // What Kernel does where the cache does not have it. `dims`: of each weight.
  std::unique_ptr<PackedKernel> PackKernel(const Kept& kept, const std::vector<std::string>& names,
                                           const std::vector<int64_t>& dims, bool with_bias);
  // Puts a kernel into the cache, counts its bytes and recycles.
  std::unique_ptr<PackedKernel> Packed(const Kept& kept, std::unique_ptr<PackedKernel> kernel);

  absl::Status CheckRoom(const std::string& name, const HostTensor& tensor);

  Ops& ops_;
  TensorStore& store_;
  LoadProgress progress_;
  absl::Status status_;
  size_t packed_bytes_ = 0;
  std::vector<LoadedLayer> layers_;
  const bool file_is_quantized_;
  // Null: there is none. Of a quantized file there is none, because what is packed then depends on more than shapes.
  const std::unique_ptr<PackedCache> cache_;
  std::vector<std::vector<float>> widened_;  // quantized weights as numbers, until the next Recycle
  uint64_t room_ = 0;                        // bytes that may be read before the host's memory is checked again
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_FOLDER_WEIGHT_LOADER_H_
