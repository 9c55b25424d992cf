// Reads weights that a file holds quantized, in the layouts of NVIDIA's ModelOpt (core/quantized_matrix.h).
#ifndef LONGTAKE_ENGINE_MODELS_FOLDER_QUANTIZED_WEIGHTS_H_
#define LONGTAKE_ENGINE_MODELS_FOLDER_QUANTIZED_WEIGHTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/core/json_config.h"
#include "engine/core/quantized_matrix.h"
#include "engine/core/safetensors.h"

namespace longtake {

// How the file has the weight of layer `name`: kNvfp4 if there is a tensor `name`.weight_scale_2, else kFloat8 if there
// is `name`.weight_scale, else kNone.
Quantization StoredQuantization(const TensorStore& store, const std::string& name);

// Whether any layer is quantized.
bool IsQuantized(const TensorStore& store);

// Reads the quantized weight of layer `name`, whose shape would be `dims` if it were not quantized, and its scales. The
// codes are valid until the store's memory is recycled. The scale of activations is counted as used and not read: rows
// are scaled by what is in them. InvalidArgument names the tensor.
absl::StatusOr<QuantizedMatrix> ReadQuantized(TensorStore& store, const std::string& name,
                                              const std::vector<int64_t>& dims);

// Refuses a config.json whose `quantization_config` names a format that ReadQuantized does not read.
void CheckQuantizationConfig(JsonConfig& json);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_FOLDER_QUANTIZED_WEIGHTS_H_
