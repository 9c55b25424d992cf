// Helpers of the models' loading code.
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
#include "engine/core/safetensors.h"
#include "engine/ops/ops.h"

namespace longtake {

// Bytes of weights read so far and in all, of one module.
using LoadProgress = std::function<void(uint64_t done, uint64_t total)>;

// Reads tensors of one store and packs them for a backend. The first error sticks and is returned by Finish(), so that
// loading code reads as a list of names.
class WeightLoader {
 public:
  WeightLoader(Ops& ops, TensorStore& store, LoadProgress progress);

  // Weights `names`[i] + ".weight" of shape [outputs/n, inputs, extra...], stacked along outputs; with_bias: also
  // ".bias". `kernel_dims` are the dimensions behind [outputs, inputs] in the file (empty for a Linear).
  std::unique_ptr<PackedKernel> Kernel(const std::vector<std::string>& names, const KernelShape& shape,
                                       const std::vector<int64_t>& kernel_dims, bool with_bias);
  // Outputs [first, first + shape.outputs) of `name`, which has `outputs` of them and a bias.
  std::unique_ptr<PackedKernel> KernelPart(const std::string& name, int64_t outputs, int64_t first,
                                           const KernelShape& shape, const std::vector<int64_t>& kernel_dims);
  std::unique_ptr<PackedKernel> Linear(const std::vector<std::string>& names, int64_t outputs, int64_t inputs,
                                       bool with_bias) {
    return Kernel(names, {.outputs = outputs, .inputs = inputs}, {}, with_bias);
  }
  // Linears of different heights over the same input, stacked along outputs: {name, outputs} each.
  std::unique_ptr<PackedKernel> Stacked(const std::vector<std::pair<std::string, int64_t>>& parts, int64_t inputs,
                                        bool with_bias);
  // Two Linears without bias for DenseOps::LinearGated.
  std::unique_ptr<PackedKernel> Gated(const std::string& gate, const std::string& up, int64_t outputs, int64_t inputs);
  // A convolution whose kernel is its stride: a dense layer over patches, channel slowest.
  std::unique_ptr<PackedKernel> PatchEmbedding(const std::string& name, int64_t outputs, int64_t channels,
                                               const std::array<int, 3>& patch);
  std::unique_ptr<PackedKernel> Depthwise(const std::string& name, int64_t channels);
  // A vector or table in f32, in backend memory; `name` is whole.
  std::unique_ptr<Buffer> Floats(const std::string& name, const std::vector<int64_t>& shape);
  EmbeddingTable Embedding(const std::string& name, int64_t rows, int64_t width);

  // Only that the tensor is there in that shape: of a part that is not wanted.
  void Check(const std::string& name, const std::vector<int64_t>& shape);

  // The first error; else an error naming a tensor that nobody read.
  absl::Status Finish() const;
  size_t packed_bytes() const { return packed_bytes_; }

 private:
  // Valid until the store is told to recycle. ResourceExhausted where the host has no room for it: Linux would grant
  // the memory and end the process when it is touched.
  HostTensor Get(const std::string& name, const std::vector<int64_t>& shape);
  // Counts what was packed, and lets the store read into the memory of the tensors that it was packed from. (Packing
  // has copied them: asynchronous backends do so before they return, too.)
  std::unique_ptr<PackedKernel> Packed(std::unique_ptr<PackedKernel> kernel);

  absl::Status CheckRoom(const std::string& name, const HostTensor& tensor);

  Ops& ops_;
  TensorStore& store_;
  LoadProgress progress_;
  absl::Status status_;
  size_t packed_bytes_ = 0;
  uint64_t room_ = 0;  // so much may be read before the host's memory is looked at again
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_FOLDER_WEIGHT_LOADER_H_
