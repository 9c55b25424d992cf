// The operations of each part of a model. Parts may differ in activation type, and the decoder may have its own stream.
#ifndef LONGTAKE_ENGINE_RUNTIME_PART_OPS_H_
#define LONGTAKE_ENGINE_RUNTIME_PART_OPS_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "engine/ops/ops.h"

namespace longtake {

// All parts use the same device memory. They exchange captions and latents as float32.
class PartOps {
 public:
  // InvalidArgument names the option at fault.
  static absl::StatusOr<PartOps> Make(const EngineOptions& options, int device);
  // All parts have the same type. `decoder`: the decoder's stream, or null if it shares the transformer's.
  explicit PartOps(std::unique_ptr<Ops> transformer, std::unique_ptr<Ops> decoder = nullptr);

  Ops& transformer() const { return *transformer_; }
  Ops& text() const { return text_ == nullptr ? *transformer_ : *text_; }
  Ops& decoder() const { return decoder_ == nullptr ? *transformer_ : *decoder_; }
  std::vector<Ops*> distinct() const;
  // True if the text encoder's layers are of int8.
  bool text_int8() const { return text_int8_; }
  // True if the decoder has its own stream.
  bool lanes_overlap() const { return lanes_overlap_; }

 private:
  std::unique_ptr<Ops> transformer_, text_, decoder_;  // text_ and decoder_ are null where they equal transformer_
  bool text_int8_ = false;
  bool lanes_overlap_;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_PART_OPS_H_
