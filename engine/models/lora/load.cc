#include "engine/models/lora/load.h"

#include <cmath>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "common/status_macros.h"
#include "engine/core/float16.h"
#include "engine/core/fnv1a.h"
#include "engine/core/input_file.h"
#include "engine/core/memory_budget.h"
#include "engine/core/safetensors.h"
#include "engine/models/lora/keys.h"
#include "engine/models/lora/scales.h"

namespace longtake {
namespace {

// diffusers' key of the header's metadata, and its prefix of the fields.
constexpr char kMetadata[] = "lora_adapter_metadata", kMetadataPrefix[] = "transformer.";
constexpr uint64_t kMaxConfigBytes = 1 << 20;  // real ones have some 2 KB

// The tensors of one layer.
struct LayerTensors {
  std::string a, b, alpha;
  std::string& of(LoraPart part) { return part == LoraPart::kA ? a : part == LoraPart::kB ? b : alpha; }
};

class Reader {
 public:
  Reader(Ops& ops, const AdapterFiles& files, std::span<const LoadedLayer> layers, TensorStore store)
      : ops_(ops), files_(files), store_(std::move(store)) {
    for (const LoadedLayer& layer : layers) {
      layers_[layer.name] = &layer;
      flat_[absl::StrReplaceAll(layer.name, {{".", "_"}})] = &layer;
    }
  }

  absl::StatusOr<std::shared_ptr<const Adapter>> Read() {
    auto adapter = std::make_shared<Adapter>();
    adapter->name = files_.name;
    RETURN_IF_ERROR(CheckRoom());
    ASSIGN_OR_RETURN(adapter->digest, Digest());
    ASSIGN_OR_RETURN(const LoraScales scales, ReadScales());
    ASSIGN_OR_RETURN(const auto tensors, SortTensors());
    for (const auto& [layer, names] : tensors) {
      ASSIGN_OR_RETURN(auto pair, ReadPair(*layer, names, scales));
      adapter->bytes += pair->a->bytes() + pair->b->bytes();
      adapter->pairs[layer->kernel].push_back(std::move(pair));
      store_.Recycle();
    }
    return adapter;
  }

 private:
  absl::Status Bad(const std::string& tensor, const std::string& why) const {
    return absl::InvalidArgumentError(absl::StrCat(files_.weights, ": tensor '", tensor.substr(0, 200), "' ", why));
  }

  // Without this check Linux would grant the memory and kill the process when it is first written.
  absl::Status CheckRoom() const {
    const MemoryBudget host = MemoryBudget::Detect();
    const MemoryLimit* limit = host.tightest();
    const uint64_t need = 2 * store_.total_bytes();  // packed, and a layer's tensors while they are converted
    if (limit == nullptr || need <= limit->available()) return absl::OkStatus();
    return absl::ResourceExhaustedError(
        absl::StrCat(files_.weights, ": it needs ", (need >> 20) + 1, " MiB, and ", limit->Left()));
  }

  absl::StatusOr<std::string> Digest() const {
    Fnv1a hash;
    for (const std::string& path : {files_.weights, files_.config}) {
      if (path.empty()) continue;
      ASSIGN_OR_RETURN(const InputFile file, InputFile::Open(path));
      RETURN_IF_ERROR(hash.AddFile(file));
    }
    return hash.hex();
  }

  // The configuration in the file's own header counts before the one beside it.
  absl::StatusOr<LoraScales> ReadScales() const {
    if (const std::string* text = store_.metadata(kMetadata); text != nullptr) {
      return LoraScales::Parse(absl::StrCat(files_.weights, ": metadata '", kMetadata, "'"), *text, kMetadataPrefix);
    }
    if (files_.config.empty()) return LoraScales();
    ASSIGN_OR_RETURN(const InputFile file, InputFile::Open(files_.config));
    ASSIGN_OR_RETURN(const std::string text, file.ReadAll(kMaxConfigBytes));
    return LoraScales::Parse(files_.config, text, "");
  }

  struct ByPosition {  // the order of a layer's terms in sums follows from this order
    bool operator()(const LoadedLayer* x, const LoadedLayer* y) const { return x->name < y->name; }
  };
  using TensorsByLayer = std::map<const LoadedLayer*, LayerTensors, ByPosition>;

  absl::StatusOr<TensorsByLayer> SortTensors() const {
    TensorsByLayer sorted;
    for (const std::string& name : store_.names()) {
      const absl::StatusOr<LoraKey> key = ParseLoraKey(name);
      if (!key.ok()) return Bad(name, std::string(key.status().message()));
      auto layer = layers_.find(key->layer);
      if (layer == layers_.end()) {
        layer = flat_.find(key->layer);
        if (layer == flat_.end()) return Bad(name, "is of a layer that the model does not have");
      }
      if (layer->second->kernel == nullptr) return Bad(name, "is of a depthwise convolution, which has no adapters");
      std::string& slot = sorted[layer->second].of(key->part);
      if (!slot.empty()) return Bad(name, absl::StrCat("is given twice, also as '", slot.substr(0, 200), "'"));
      slot = name;
    }
    if (sorted.empty()) return absl::InvalidArgumentError(absl::StrCat(files_.weights, ": has no tensors"));
    for (auto& [layer, names] : sorted) {
      if (names.a.empty()) return Bad(names.b.empty() ? names.alpha : names.b, "has no A that belongs to it");
      if (names.b.empty()) return Bad(names.a, "has no B that belongs to it");
    }
    return sorted;
  }

  // Reads a tensor of numbers; they must be finite.
  absl::StatusOr<HostTensor> ReadTensor(const std::string& name) {
    ASSIGN_OR_RETURN(const HostTensor tensor, store_.GetAny(name));
    if (tensor.dtype != DType::kF32 && tensor.dtype != DType::kBF16 && tensor.dtype != DType::kF16) {
      return Bad(name, absl::StrCat("has the type ", std::string(Name(tensor.dtype)), ", which is no weight's"));
    }
    for (const float value : ToFloats(tensor)) {
      if (!std::isfinite(value)) return Bad(name, "has a value that is not finite");
    }
    return tensor;
  }

  // A has the shape of the layer's weight with the rank in place of the outputs. The pair of a convolution may also be
  // matrices, where its kernel has one position.
  absl::StatusOr<HostTensor> ReadA(const LoadedLayer& layer, const std::string& name) {
    ASSIGN_OR_RETURN(HostTensor a, ReadTensor(name));
    if (a.shape.empty()) return Bad(name, "has no dimensions");
    const int64_t rank = a.shape[0];
    if (rank < 1 || rank > kMaxLoraRank) {
      return Bad(name, absl::StrCat("has rank ", rank, "; 1 to ", kMaxLoraRank, " are possible"));
    }
    std::vector<int64_t> need = layer.weight_shape;
    need[0] = rank;
    const std::vector<int64_t> matrix = {rank, layer.kernel->shape().inputs};
    if (a.shape != need && (a.shape != matrix || layer.kernel->shape().taps() > 1)) return WrongShape(name, a, need);
    return a;
  }

  absl::StatusOr<HostTensor> ReadB(const LoadedLayer& layer, const std::string& name, int64_t rank) {
    ASSIGN_OR_RETURN(HostTensor b, ReadTensor(name));
    std::vector<int64_t> need(layer.weight_shape.size(), 1);
    need[0] = layer.weight_shape[0];
    need[1] = rank;
    const std::vector<int64_t> matrix = {need[0], rank};
    if (b.shape != need && b.shape != matrix) return WrongShape(name, b, need);
    b.shape = matrix;
    return b;
  }

  absl::Status WrongShape(const std::string& name, const HostTensor& tensor, const std::vector<int64_t>& need) const {
    return Bad(name, absl::StrCat("has the shape [", absl::StrJoin(tensor.shape, ","), "], but [",
                                  absl::StrJoin(need, ","), "] is needed"));
  }

  absl::StatusOr<std::shared_ptr<const LowRankPair>> ReadPair(const LoadedLayer& layer, const LayerTensors& names,
                                                              const LoraScales& scales) {
    ASSIGN_OR_RETURN(HostTensor a, ReadA(layer, names.a));
    const int64_t rank = a.shape[0];
    ASSIGN_OR_RETURN(const HostTensor b, ReadB(layer, names.b, rank));
    std::optional<double> alpha;
    if (!names.alpha.empty()) {
      ASSIGN_OR_RETURN(const HostTensor tensor, ReadTensor(names.alpha));
      if (tensor.elements() != 1) return Bad(names.alpha, "is not one number");
      alpha = ToFloats(tensor)[0];
      if (*alpha == 0) return Bad(names.alpha, "is 0, so the adapter would change nothing");
    }
    const absl::StatusOr<float> scale = scales.ScaleOf(layer.name, rank, alpha);
    if (!scale.ok()) return Bad(names.a, std::string(scale.status().message()));

    KernelShape shape = layer.kernel->shape();
    shape.low_precision = false;
    const int64_t outputs = shape.outputs, columns = layer.weight_shape[0];
    shape.outputs = rank;
    auto pair = std::make_shared<LowRankPair>();
    pair->scale = *scale;
    pair->first_column = layer.first_output;
    pair->columns = columns;
    a.shape = {rank, a.elements() / rank};
    pair->a = ops_.weights().Pack(shape, {&a, 1}, {});
    // B has rows of zeros for the other layers that are stacked in the kernel.
    const int64_t after = outputs - layer.first_output - columns;
    const std::vector<float> zeros(std::max(layer.first_output, after) * rank);
    const HostTensor stacked[] = {
        {zeros.data(), DType::kF32, {layer.first_output, rank}}, b, {zeros.data(), DType::kF32, {after, rank}}};
    pair->b = ops_.weights().Pack({.outputs = outputs, .inputs = rank}, stacked, {});
    return pair;
  }

  Ops& ops_;
  const AdapterFiles& files_;
  TensorStore store_;
  std::map<std::string, const LoadedLayer*> layers_, flat_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const Adapter>> LoadAdapter(Ops& ops, const AdapterFiles& files,
                                                           std::span<const LoadedLayer> layers) {
  ASSIGN_OR_RETURN(TensorStore store, TensorStore::OpenFile(files.weights));
  return Reader(ops, files, layers, std::move(store)).Read();
}

}  // namespace longtake
