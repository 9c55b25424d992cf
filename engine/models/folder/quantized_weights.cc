#include "engine/models/folder/quantized_weights.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"
#include "engine/core/float16.h"

namespace longtake {
namespace {

absl::Status Bad(const TensorStore& store, const std::string& tensor, const std::string& why) {
  return absl::InvalidArgumentError(absl::StrCat(store.name(), ": tensor '", tensor, "' ", why));
}

// Reads a tensor of this type and shape.
absl::StatusOr<HostTensor> ReadTyped(TensorStore& store, const std::string& name, DType type,
                                     const std::vector<int64_t>& shape) {
  ASSIGN_OR_RETURN(const HostTensor tensor, store.GetAny(name));
  if (tensor.dtype == type && tensor.shape == shape) return tensor;
  return Bad(store, name,
             absl::StrCat("is ", std::string(Name(tensor.dtype)), " [", absl::StrJoin(tensor.shape, ","), "], but ",
                          std::string(Name(type)), " [", absl::StrJoin(shape, ","), "] is needed"));
}

// Reads scales of any 16 or 32-bit float type: one, or one for each of `rows`.
absl::StatusOr<std::vector<float>> ReadScales(TensorStore& store, const std::string& name, int64_t rows) {
  ASSIGN_OR_RETURN(const HostTensor tensor, store.GetAny(name));
  const DType type = tensor.dtype;
  if (type != DType::kF32 && type != DType::kBF16 && type != DType::kF16) {
    return Bad(store, name, absl::StrCat("has the type ", std::string(Name(type)), ", and a scale is float32"));
  }
  std::vector<float> scales = ToFloats(tensor);
  if (scales.size() == 1) scales.resize(rows, scales[0]);
  if (static_cast<int64_t>(scales.size()) != rows) {
    return Bad(store, name, absl::StrCat("has ", scales.size(), " scales for ", rows, " outputs"));
  }
  if (!std::all_of(scales.begin(), scales.end(), [](float s) { return std::isfinite(s) && s >= 0.f; })) {
    return Bad(store, name, "has a scale that is negative or not finite");
  }
  return scales;
}

}  // namespace

Quantization StoredQuantization(const TensorStore& store, const std::string& name) {
  if (!store.Has(name + ".weight_scale")) return Quantization::kNone;
  return store.Has(name + ".weight_scale_2") ? Quantization::kNvfp4 : Quantization::kFloat8;
}

bool IsQuantized(const TensorStore& store) {
  const std::vector<std::string> names = store.names();
  return std::any_of(names.begin(), names.end(), [](const std::string& n) { return n.ends_with(".weight_scale"); });
}

absl::StatusOr<QuantizedMatrix> ReadQuantized(TensorStore& store, const std::string& name,
                                              const std::vector<int64_t>& dims) {
  QuantizedMatrix m{.format = StoredQuantization(store, name), .rows = dims[0], .columns = 1};
  for (size_t i = 1; i < dims.size(); ++i) m.columns *= dims[i];
  const std::string weight = name + ".weight", scale = weight + "_scale";
  store.Ignore(name + ".input_scale");
  if (m.format == Quantization::kFloat8) {
    ASSIGN_OR_RETURN(const HostTensor codes, ReadTyped(store, weight, DType::kE4m3, dims));
    ASSIGN_OR_RETURN(m.row_scales, ReadScales(store, scale, m.rows));
    m.codes = static_cast<const uint8_t*>(codes.data);
    return m;
  }
  if (m.columns % kNvfp4Block != 0) {
    return Bad(store, weight, absl::StrCat("is NVFP4, and its ", m.columns, " inputs are no multiple of 16"));
  }
  std::vector<int64_t> pairs = dims;
  pairs[1] /= 2;
  ASSIGN_OR_RETURN(const HostTensor codes, ReadTyped(store, weight, DType::kU8, pairs));
  ASSIGN_OR_RETURN(const HostTensor scales, ReadTyped(store, scale, DType::kE4m3, {m.rows, m.columns / kNvfp4Block}));
  for (const float s : ToFloats(scales)) {
    if (!std::isfinite(s)) return Bad(store, scale, "has a scale that is not finite");
  }
  ASSIGN_OR_RETURN(const std::vector<float> whole, ReadScales(store, scale + "_2", 1));
  m.codes = static_cast<const uint8_t*>(codes.data);
  m.block_scales = static_cast<const uint8_t*>(scales.data);
  m.tensor_scale = whole[0];
  return m;
}

void CheckQuantizationConfig(JsonConfig& json) {
  const std::string field = "quantization_config";
  const nlohmann::json* raw = json.Raw(field);
  if (raw == nullptr || raw->is_null()) return;
  if (!raw->is_object()) return json.Fail(field, "must be an object");
  // `bfl` is diffusers' word for the same two layouts. ModelOpt's export writes quant_algo, diffusers quant_type.
  struct Known {
    const char* key;
    bool required;
    std::vector<std::string> words;
  };
  for (const auto& [key, required, words] :
       {Known{"quant_method", true, {"bfl", "modelopt"}}, Known{"quant_algo", false, {"FP8", "NVFP4"}},
        Known{"quant_type", false, {"FP8", "NVFP4"}}}) {
    const auto it = raw->find(key);
    const bool missing = it == raw->end() || it->is_null();
    if (missing && !required) continue;
    if (!missing && it->is_string() && std::count(words.begin(), words.end(), it->get<std::string>()) > 0) continue;
    return json.Fail(field, absl::StrCat(key, missing ? " is missing" : absl::StrCat(" is ", it->dump().substr(0, 40)),
                                         "; the formats that are read are ModelOpt's FP8 and NVFP4 (docs/folders.md)"));
  }
}

}  // namespace longtake
