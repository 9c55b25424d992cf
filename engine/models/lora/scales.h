// The factor on a pair's product: alpha / rank, by the rules of peft and diffusers.
#ifndef LONGTAKE_ENGINE_MODELS_LORA_SCALES_H_
#define LONGTAKE_ENGINE_MODELS_LORA_SCALES_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "re2/re2.h"

namespace longtake {

// A peft LoraConfig, or the lack of one.
class LoraScales {
 public:
  // Without a configuration: alpha equals the rank, so the scale is 1.
  LoraScales() = default;
  // `source` names the text in errors. `prefix` is left out of every field's name: diffusers writes "transformer." in
  // front of them, and other parts' fields are refused. Fields that would change the weights in another way (DoRA,
  // biases, whole modules, initializations that change the base weights) are refused by name.
  static absl::StatusOr<LoraScales> Parse(const std::string& source, const std::string& text,
                                          const std::string& prefix);

  // The scale of a layer whose pair has that rank. `alpha`: of the file's own `.alpha` tensor.
  //
  // With a configuration it is lora_alpha / r, or lora_alpha / sqrt(r) with use_rslora; rank_pattern and alpha_pattern
  // override r and lora_alpha where one of their regular expressions matches the end of the layer's name, the first in
  // the file's order. Else it is alpha / rank, else 1.
  //
  // The error, worded to follow the layer's name, says that the configuration contradicts rank or alpha.
  absl::StatusOr<float> ScaleOf(const std::string& layer, int64_t rank, std::optional<double> alpha) const;

 private:
  using Pattern = std::vector<std::pair<std::unique_ptr<const RE2>, double>>;  // of ends of names, and the values

  bool configured_ = false, rslora_ = false;
  double rank_ = 0, alpha_ = 0;
  Pattern rank_pattern_, alpha_pattern_;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_LORA_SCALES_H_
