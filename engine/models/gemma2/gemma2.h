// The Gemma-2 text encoder (transformers: modeling_gemma2.py). Specification section 2.
//
// The weights are immutable. Several prompts run as one batch, with their tokens packed along one axis.
#ifndef LONGTAKE_ENGINE_MODELS_GEMMA2_GEMMA2_H_
#define LONGTAKE_ENGINE_MODELS_GEMMA2_GEMMA2_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/models/folder/weight_loader.h"
#include "engine/models/gemma2/config.h"
#include "engine/ops/arena.h"
#include "engine/ops/ops.h"

namespace longtake {

// One prompt's tokens, padded on the right. Positions count from the first token.
struct TextSequence {
  std::span<const int32_t> ids;  // the rows to compute
  int64_t length = 0;            // tokens before the padding, at least 1; padding rows attend to these only
};

class Gemma2 {
 public:
  // `folder` holds config.json and model.safetensors, or shards. `low_precision`: the backend may quantize the layers'
  // products (KernelShape), if it quantizes any. Errors name file, field or tensor.
  static absl::StatusOr<std::unique_ptr<Gemma2>> Load(Ops& ops, const std::string& folder, const LoadProgress& progress,
                                                      bool low_precision = false);
  ~Gemma2();

  const Gemma2Config& config() const { return config_; }
  size_t weight_bytes() const { return weight_bytes_; }
  // Scratch of a batch of `rows` tokens.
  size_t ScratchBytes(int64_t rows) const;

  // Writes the last hidden state, after the final norm, to out f32 [all rows, width], sequence after sequence.
  // `scratch` is backend memory of ScratchBytes(all rows). InvalidArgument: an id is outside the vocabulary, or a
  // length outside its rows; then nothing has run.
  absl::Status Forward(std::span<const TextSequence> sequences, void* scratch, Mat out) const;

 private:
  struct Layer;
  struct Weights;
  struct Work;
  Gemma2(Ops& ops, Gemma2Config config);
  void RunLayer(const Layer& layer, std::span<const SoftmaxAttentionSegment> segments, int64_t window,
                const Work& work) const;

  Ops& ops_;
  Gemma2Config config_;
  std::unique_ptr<Weights> weights_;
  size_t weight_bytes_ = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_GEMMA2_GEMMA2_H_
