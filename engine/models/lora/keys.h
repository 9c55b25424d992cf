// Names of the tensors in files of low-rank adapters.
#ifndef LONGTAKE_ENGINE_MODELS_LORA_KEYS_H_
#define LONGTAKE_ENGINE_MODELS_LORA_KEYS_H_

#include <string>

#include "absl/status/statusor.h"

namespace longtake {

enum class LoraPart { kA, kB, kAlpha };

struct LoraKey {
  // The layer as the transformer's weights name it ("transformer_blocks.0.attn1.to_q"), or all dots replaced by
  // underscores, as kohya's files have it.
  std::string layer;
  LoraPart part = LoraPart::kA;
};

// Reads the names that diffusers (`transformer.X.lora_A.weight`), its earlier releases (`X.lora.down.weight`), peft
// (`base_model.model.X.lora_A.default.weight`) and kohya's scripts (`lora_unet_X.lora_down.weight`, `.alpha`) give.
// An error states what the tensor is, if it is known, and why it is refused. It is worded to follow the tensor's name.
absl::StatusOr<LoraKey> ParseLoraKey(const std::string& tensor);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_LORA_KEYS_H_
