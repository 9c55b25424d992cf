#include "engine/models/folder/weight_loader.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"
#include "engine/core/float16.h"
#include "engine/core/memory_budget.h"
#include "engine/models/folder/quantized_weights.h"

namespace longtake {
namespace {

// Returns rows [first, first + count) of the tensor's first axis.
HostTensor Rows(HostTensor t, int64_t first, int64_t count) {
  const int64_t row_bytes = t.elements() / t.shape[0] * static_cast<int64_t>(SizeOf(t.dtype));
  t.data = static_cast<const std::byte*>(t.data) + first * row_bytes;
  t.shape[0] = count;
  return t;
}

}  // namespace

WeightLoader::WeightLoader(Ops& ops, TensorStore& store, LoadProgress progress)
    : ops_(ops),
      store_(store),
      progress_(std::move(progress)),
      file_is_quantized_(IsQuantized(store)),
      cache_(file_is_quantized_ ? nullptr : PackedCache::Open(ops.weights(), store)) {}

void WeightLoader::Recycle() {
  widened_.clear();
  store_.Recycle();
}

WeightLoader::Kept WeightLoader::Named(PackedForm form, const std::string& names, const KernelShape& shape) {
  if (cache_ == nullptr) return {.form = form, .shape = shape};
  const std::string what = absl::StrCat(names, " ", static_cast<int>(form), ": ", shape.outputs, "x", shape.inputs, "x",
                                        shape.kt, "x", shape.kh, "x", shape.kw, shape.low_precision ? " low" : "");
  return {.name = cache_->Name(what), .form = form, .shape = shape};
}

std::unique_ptr<PackedKernel> WeightLoader::Restored(const Kept& kept, const std::vector<Tensor>& tensors) {
  if (kept.name.empty()) return nullptr;
  const std::vector<PackedBlock> blocks = cache_->Find(kept.name);
  if (blocks.empty()) return nullptr;
  for (const Tensor& tensor : tensors) Check(tensor.name, tensor.shape);
  if (!status_.ok()) return nullptr;
  auto kernel = ops_.weights().Restore(kept.form, kept.shape, blocks);
  if (kernel == nullptr) {
    cache_->Discard();
    return nullptr;
  }
  CountRestored(kernel->bytes());
  return kernel;
}

void WeightLoader::CountRestored(size_t bytes) {
  packed_bytes_ += bytes;
  ops_.weights().CountRestored(bytes);
}

std::unique_ptr<PackedKernel> WeightLoader::Packed(const Kept& kept, std::unique_ptr<PackedKernel> kernel) {
  if (!kept.name.empty()) cache_->Keep(kept.name, kernel->blocks());
  packed_bytes_ += kernel->bytes();
  Recycle();
  return kernel;
}

absl::Status WeightLoader::CheckRoom(const std::string& name, const HostTensor& tensor) {
  const uint64_t bytes = tensor.elements() * SizeOf(tensor.dtype);
  if (bytes <= room_) {
    room_ -= bytes;
    return absl::OkStatus();
  }
  const MemoryBudget host = MemoryBudget::Detect();
  const MemoryLimit* limit = host.tightest();
  if (limit == nullptr) return absl::OkStatus();
  // A lower bound: float32 weights take half of their bytes if activations are bfloat16; reading takes 1 MiB.
  const uint64_t need = bytes / 2 + (uint64_t{1} << 20);
  if (need > limit->available()) {
    constexpr double kMiB = 1 << 20;
    return absl::ResourceExhaustedError(absl::StrFormat("tensor \"%s\": it needs %.1f MiB, and %s", name,
                                                        static_cast<double>(need) / kMiB, limit->Left()));
  }
  room_ = (limit->available() - need) / 4;  // packing may take twice the bytes, and others take memory too
  return absl::OkStatus();
}

HostTensor WeightLoader::Get(const std::string& name, const std::vector<int64_t>& shape) {
  if (!status_.ok()) return {};
  absl::StatusOr<HostTensor> tensor = store_.Get(name, shape);
  if (!tensor.ok()) {
    status_ = tensor.status();
    return {};
  }
  if (status_ = CheckRoom(name, *tensor); !status_.ok()) return {};
  if (progress_) progress_(store_.used_bytes(), store_.total_bytes());
  return *tensor;
}

QuantizedMatrix WeightLoader::ReadQuantized(const std::string& name, const std::vector<int64_t>& shape) {
  if (!status_.ok()) return {};
  absl::StatusOr<QuantizedMatrix> matrix = longtake::ReadQuantized(store_, name, shape);
  if (!matrix.ok()) {
    status_ = matrix.status();
    return {};
  }
  // As if it were a tensor of numbers, which it may become.
  if (status_ = CheckRoom(name + ".weight", {.data = matrix->codes, .dtype = DType::kF32, .shape = shape});
      !status_.ok()) {
    return {};
  }
  if (progress_) progress_(store_.used_bytes(), store_.total_bytes());
  return *std::move(matrix);
}

HostTensor WeightLoader::Weight(const std::string& name, const std::vector<int64_t>& shape) {
  if (StoredQuantization(store_, name) == Quantization::kNone) return Get(name + ".weight", shape);
  return Numbers(ReadQuantized(name, shape), shape);
}

HostTensor WeightLoader::Numbers(const QuantizedMatrix& matrix, const std::vector<int64_t>& shape) {
  if (!status_.ok()) return {};
  return {widened_.emplace_back(ToFloats(matrix)).data(), DType::kF32, shape};
}

KernelShape WeightLoader::AsStored(const std::vector<std::string>& names, KernelShape shape) {
  const Quantization asked = ops_.weights().quantization();
  if (!file_is_quantized_ || !shape.low_precision || asked == Quantization::kNone) return shape;
  for (const std::string& name : names) {
    const Quantization stored = StoredQuantization(store_, name);
    if (stored == Quantization::kNone || stored == asked) continue;
    Fail(absl::StrCat(store_.name(), ": tensor '", name, ".weight' is ", std::string(Name(stored)), ", which ",
                      std::string(Name(asked)), " would round a second time: load it as auto, float32, bfloat16 or ",
                      std::string(Name(stored))));
  }
  shape.low_precision = false;
  return shape;
}

std::vector<QuantizedMatrix> WeightLoader::Quantized(const std::vector<std::string>& names,
                                                     const std::vector<int64_t>& shape) {
  const Quantization asked = ops_.weights().quantization();
  if (asked == Quantization::kNone) return {};
  for (const std::string& name : names) {
    if (StoredQuantization(store_, name) != asked) return {};
  }
  std::vector<QuantizedMatrix> parts;
  for (const std::string& name : names) parts.push_back(ReadQuantized(name, shape));
  return parts;
}

std::unique_ptr<PackedKernel> WeightLoader::Kernel(const std::vector<std::string>& names, const KernelShape& shape,
                                                   const std::vector<int64_t>& kernel_dims, bool with_bias) {
  const int64_t outputs = shape.outputs / static_cast<int64_t>(names.size());
  std::vector<int64_t> dims = {outputs, shape.inputs};
  dims.insert(dims.end(), kernel_dims.begin(), kernel_dims.end());
  const Kept kept = Named(PackedForm::kPlain, absl::StrJoin(names, "+"), shape);
  std::vector<Tensor> tensors;
  for (const std::string& name : names) {
    tensors.push_back({name + ".weight", dims});
    if (with_bias) tensors.push_back({name + ".bias", {outputs}});
  }
  std::unique_ptr<PackedKernel> kernel = Restored(kept, tensors);
  if (kernel == nullptr) kernel = PackKernel(kept, names, dims, with_bias);
  if (kernel == nullptr) return nullptr;
  for (size_t i = 0; i < names.size(); ++i) {
    layers_.push_back({names[i], kernel.get(), static_cast<int64_t>(i) * outputs, dims});
  }
  return kernel;
}

std::unique_ptr<PackedKernel> WeightLoader::PackKernel(const Kept& kept, const std::vector<std::string>& names,
                                                       const std::vector<int64_t>& dims, bool with_bias) {
  const KernelShape& shape = kept.shape;
  const KernelShape stored = AsStored(names, shape);
  std::vector<QuantizedMatrix> quantized;
  if (shape.low_precision) quantized = Quantized(names, dims);
  // One kernel has one scale for the whole matrix.
  const bool as_it_is = !quantized.empty() && std::ranges::all_of(quantized, [&](const QuantizedMatrix& m) {
    return m.tensor_scale == quantized[0].tensor_scale;
  });
  std::vector<HostTensor> weights, biases;
  for (size_t i = 0; i < names.size(); ++i) {
    if (!as_it_is) weights.push_back(quantized.empty() ? Weight(names[i], dims) : Numbers(quantized[i], dims));
    if (with_bias) biases.push_back(Get(names[i] + ".bias", {dims[0]}));
  }
  if (!status_.ok()) return nullptr;
  return Packed(kept, as_it_is ? ops_.weights().PackQuantized(shape, quantized, biases)
                               : ops_.weights().Pack(stored, weights, biases));
}

std::unique_ptr<PackedKernel> WeightLoader::Stacked(const std::vector<std::pair<std::string, int64_t>>& parts,
                                                    int64_t inputs, bool with_bias, bool low_precision) {
  KernelShape shape{.outputs = 0, .inputs = inputs, .low_precision = low_precision};
  std::vector<std::string> names;
  std::vector<Tensor> tensors;
  for (const auto& [name, outputs] : parts) {
    shape.outputs += outputs;
    names.push_back(name);
    tensors.push_back({name + ".weight", {outputs, inputs}});
    if (with_bias) tensors.push_back({name + ".bias", {outputs}});
  }
  const Kept kept = Named(PackedForm::kPlain, absl::StrJoin(names, "+"), shape);
  if (auto kernel = Restored(kept, tensors); kernel != nullptr) return kernel;
  std::vector<HostTensor> weights, biases;
  for (const auto& [name, outputs] : parts) {
    weights.push_back(Weight(name, {outputs, inputs}));
    if (with_bias) biases.push_back(Get(name + ".bias", {outputs}));
  }
  shape = AsStored(names, shape);
  if (!status_.ok()) return nullptr;
  return Packed(kept, ops_.weights().Pack(shape, weights, biases));
}

std::unique_ptr<PackedKernel> WeightLoader::Gated(const std::string& gate, const std::string& up,
                                                  const KernelShape& shape) {
  const std::vector<int64_t> dims = {shape.outputs, shape.inputs};
  const Kept kept = Named(PackedForm::kGated, absl::StrCat(gate, "+", up), shape);
  auto kernel = Restored(kept, {{gate + ".weight", dims}, {up + ".weight", dims}});
  if (kernel != nullptr) return kernel;
  const HostTensor first = Weight(gate, dims), second = Weight(up, dims);
  const KernelShape stored = AsStored({gate, up}, shape);
  if (!status_.ok()) return nullptr;
  return Packed(kept, ops_.weights().PackGated(stored, first, second));
}

std::unique_ptr<PackedKernel> WeightLoader::KernelPart(const std::string& name, int64_t outputs, int64_t first,
                                                       const KernelShape& shape,
                                                       const std::vector<int64_t>& kernel_dims) {
  std::vector<int64_t> dims = {outputs, shape.inputs};
  dims.insert(dims.end(), kernel_dims.begin(), kernel_dims.end());
  const Kept kept = Named(PackedForm::kPlain, absl::StrCat(name, " from ", first), shape);
  auto kernel = Restored(kept, {{name + ".weight", dims}, {name + ".bias", {outputs}}});
  if (kernel != nullptr) return kernel;
  HostTensor weight = Weight(name, dims);
  HostTensor bias = Get(name + ".bias", {outputs});
  if (!status_.ok()) return nullptr;
  weight = Rows(weight, first, shape.outputs);
  bias = Rows(bias, first, shape.outputs);
  return Packed(kept, ops_.weights().Pack(shape, {&weight, 1}, {&bias, 1}));
}

std::unique_ptr<PackedKernel> WeightLoader::PatchEmbedding(const std::string& name, int64_t outputs, int64_t channels,
                                                           const std::array<int, 3>& patch) {
  const KernelShape shape{.outputs = outputs, .inputs = channels * patch[0] * patch[1] * patch[2]};
  const std::vector<int64_t> dims = {outputs, channels, patch[0], patch[1], patch[2]};
  const Kept kept = Named(PackedForm::kPlain, name, shape);
  auto kernel = Restored(kept, {{name + ".weight", dims}, {name + ".bias", {outputs}}});
  if (kernel == nullptr) {
    HostTensor weight = Weight(name, dims);
    const HostTensor bias = Get(name + ".bias", {outputs});
    if (!status_.ok()) return nullptr;
    weight.shape = {outputs, shape.inputs};
    kernel = Packed(kept, ops_.weights().Pack(shape, {&weight, 1}, {&bias, 1}));
  }
  layers_.push_back({.name = name, .kernel = kernel.get(), .weight_shape = dims});
  return kernel;
}

std::unique_ptr<PackedKernel> WeightLoader::Depthwise(const std::string& name, int64_t channels) {
  const std::vector<int64_t> dims = {channels, 1, 3, 3};
  const Kept kept = Named(PackedForm::kDepthwise, name, {.outputs = channels, .inputs = 1, .kh = 3, .kw = 3});
  auto kernel = Restored(kept, {{name + ".weight", dims}, {name + ".bias", {channels}}});
  if (kernel == nullptr) {
    const HostTensor weight = Weight(name, dims);
    const HostTensor bias = Get(name + ".bias", {channels});
    if (!status_.ok()) return nullptr;
    kernel = Packed(kept, ops_.weights().PackDepthwise(weight, bias));
  }
  layers_.push_back({.name = name, .weight_shape = dims});
  return kernel;
}

std::unique_ptr<Buffer> WeightLoader::Floats(const std::string& name, const std::vector<int64_t>& shape) {
  const HostTensor tensor = Get(name, shape);
  if (!status_.ok()) return nullptr;
  const std::vector<float> values = ToFloats(tensor);
  auto buffer = ops_.device().Allocate(values.size() * sizeof(float));
  ops_.device().Upload(values.data(), buffer->data(), values.size() * sizeof(float));
  packed_bytes_ += buffer->size();
  Recycle();
  return buffer;
}

std::vector<float> WeightLoader::HostFloats(const std::string& name, const std::vector<int64_t>& shape) {
  const HostTensor tensor = Get(name, shape);
  if (!status_.ok()) return {};
  std::vector<float> values = ToFloats(tensor);
  Recycle();
  return values;
}

EmbeddingTable WeightLoader::Embedding(const std::string& name, int64_t rows, int64_t width) {
  const std::string kept = cache_ == nullptr ? "" : cache_->Name(absl::StrCat(name, " table: ", rows, "x", width));
  const std::vector<PackedBlock> blocks = kept.empty() ? std::vector<PackedBlock>() : cache_->Find(kept);
  if (blocks.size() == 1) {
    Check(name, {rows, width});
    EmbeddingTable table = ops_.weights().RestoreEmbedding(rows, width, blocks[0]);
    if (status_.ok() && table.data != nullptr) {
      CountRestored(table.data->size());
      return table;
    }
    cache_->Discard();
  }
  const HostTensor tensor = Get(name, {rows, width});
  if (!status_.ok()) return {};
  EmbeddingTable table = ops_.weights().PackEmbedding(tensor);
  if (!kept.empty()) {
    const std::span<const std::byte> bytes(static_cast<const std::byte*>(table.data->data()), table.data->size());
    cache_->Keep(kept, {&bytes, 1});
  }
  packed_bytes_ += table.data->size();
  Recycle();
  return table;
}

std::unique_ptr<PackedKernel> WeightLoader::Pack(const KernelShape& shape, const std::vector<float>& weight,
                                                 const std::vector<float>& bias) {
  if (!status_.ok()) return nullptr;
  const HostTensor weights{weight.data(), DType::kF32, {shape.outputs, shape.inputs, shape.kt, shape.kh, shape.kw}};
  const HostTensor biases{bias.data(), DType::kF32, {shape.outputs}};
  // The cache does not have it: that the values are made anew is all the work of the few kernels that come this way.
  return Packed({}, ops_.weights().Pack(shape, {&weights, 1}, {&biases, bias.empty() ? size_t{0} : size_t{1}}));
}

void WeightLoader::Check(const std::string& name, const std::vector<int64_t>& shape) {
  if (!status_.ok()) return;
  status_ = store_.Check(name, shape);
  if (progress_) progress_(store_.used_bytes(), store_.total_bytes());
}

void WeightLoader::Fail(const std::string& what) {
  if (status_.ok()) status_ = absl::InvalidArgumentError(what);
}

absl::Status WeightLoader::Finish() {
  if (!status_.ok()) return status_;
  RETURN_IF_ERROR(store_.CheckAllUsed());
  if (cache_ != nullptr) cache_->Finish();
  return absl::OkStatus();
}

}  // namespace longtake
