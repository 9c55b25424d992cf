// Writes safetensors files of adapters, right and wrong ones.
#ifndef LONGTAKE_TESTS_ENGINE_LORA_FILES_H_
#define LONGTAKE_TESTS_ENGINE_LORA_FILES_H_

#include <cstdint>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"

namespace longtake {

struct LoraTensor {
  std::vector<int64_t> shape;
  std::vector<float> values;
};
using LoraTensors = std::map<std::string, LoraTensor>;

inline LoraTensor RandomTensor(std::vector<int64_t> shape, uint32_t seed, float scale = 0.1f) {
  int64_t n = 1;
  for (const int64_t d : shape) n *= d;
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0.f, scale);
  LoraTensor tensor{std::move(shape), std::vector<float>(n)};
  for (float& value : tensor.values) value = normal(engine);
  return tensor;
}

// The bytes of a file of float32 tensors; `metadata` is the header's `__metadata__`.
inline std::string LoraFile(const LoraTensors& tensors, const std::map<std::string, std::string>& metadata = {}) {
  nlohmann::json header = nlohmann::json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    const size_t begin = data.size(), bytes = tensor.values.size() * sizeof(float);
    data.resize(begin + bytes);
    if (bytes > 0) std::memcpy(data.data() + begin, tensor.values.data(), bytes);
    header[name] = {{"dtype", "F32"}, {"shape", tensor.shape}, {"data_offsets", {begin, begin + bytes}}};
  }
  const std::string text = header.dump();
  const uint64_t length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + text + data;
}

// A and B of a layer of [outputs, inputs].
inline void AddPair(LoraTensors* tensors, const std::string& layer, int64_t outputs, int64_t inputs, int64_t rank,
                    uint32_t seed) {
  (*tensors)["transformer." + layer + ".lora_A.weight"] = RandomTensor({rank, inputs}, seed);
  (*tensors)["transformer." + layer + ".lora_B.weight"] = RandomTensor({outputs, rank}, seed + 1);
}

// Changes every kind of layer of the bundled model (width 192, FFN 384) in two of its blocks.
inline LoraTensors TinyAdapter(uint32_t seed, int64_t rank) {
  LoraTensors tensors;
  for (const std::string block : {"transformer_blocks.0.", "transformer_blocks.3."}) {
    for (const char* layer :
         {"attn1.to_q", "attn1.to_v", "attn1.to_out.0", "attn2.to_q", "attn2.to_k", "attn2.to_out.0"}) {
      AddPair(&tensors, block + layer, 192, 192, rank, seed += 2);
    }
    AddPair(&tensors, block + "ff.conv_inverted", 768, 192, rank, seed += 2);
    AddPair(&tensors, block + "ff.conv_point", 192, 384, rank, seed += 2);
    const std::string temporal = "transformer." + block + "ff.conv_temp";
    tensors[temporal + ".lora_A.weight"] = RandomTensor({rank, 192, 3, 1}, seed += 2);
    tensors[temporal + ".lora_B.weight"] = RandomTensor({192, rank, 1, 1}, seed += 2);
  }
  AddPair(&tensors, "time_embed.linear", 6 * 192, 192, rank, seed += 2);
  AddPair(&tensors, "caption_projection.linear_1", 192, 128, rank, seed += 2);
  AddPair(&tensors, "proj_out", 64, 192, rank, seed += 2);
  return tensors;
}

}  // namespace longtake

#endif  // LONGTAKE_TESTS_ENGINE_LORA_FILES_H_
