// The operations of each part of a model. A part may have a number type of its own, and the decoder a stream.
#ifndef LONGTAKE_ENGINE_RUNTIME_PART_OPS_H_
#define LONGTAKE_ENGINE_RUNTIME_PART_OPS_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "engine/ops/ops.h"

namespace longtake {

// Memory is common to all parts. What they hand to each other (captions, latents) is float32.
class PartOps {
 public:
  // InvalidArgument names the option at fault.
  static absl::StatusOr<PartOps> Make(const EngineOptions& options, int device);
  // All parts of one type. `decoder`: its stream; null where it takes turns with the other parts.
  explicit PartOps(std::unique_ptr<Ops> transformer, std::unique_ptr<Ops> decoder = nullptr);

  Ops& transformer() const { return *transformer_; }
  Ops& text() const { return text_ == nullptr ? *transformer_ : *text_; }
  Ops& decoder() const { return decoder_ == nullptr ? *transformer_ : *decoder_; }
  std::vector<Ops*> distinct() const;
  // Whether the decoder has a stream of its own.
  bool lanes_overlap() const { return lanes_overlap_; }

 private:
  std::unique_ptr<Ops> transformer_, text_, decoder_;  // the others null where they are the transformer's
  bool lanes_overlap_;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_PART_OPS_H_
