// Computes the scratch that passes need: their own, and that of the operations they call.
#ifndef LONGTAKE_ENGINE_RUNTIME_SCRATCH_PLAN_H_
#define LONGTAKE_ENGINE_RUNTIME_SCRATCH_PLAN_H_

#include <cstddef>
#include <cstdint>

#include "engine/runtime/part_ops.h"
#include "engine/runtime/video_model.h"

namespace longtake {

struct ScratchPlan {
  // Tokens of the largest transformer batch; any single pass fits into it.
  int64_t batch_tokens = 0;
  // Scratch of the passes themselves. If the lanes share a stream, `transformer` serves both and `decoder` is 0.
  size_t transformer = 0, decoder = 0;
  size_t operations = 0;  // scratch of the operations, all parts together
  size_t bytes() const { return transformer + decoder + operations; }
};

// Plans for transformer batches of up to `batch_tokens` tokens, or of one pass where that has more. Registers the needs
// of every part's operations (Scratch::Plan); nothing is allocated.
ScratchPlan PlanScratch(const PartOps& parts, const VideoModel& model, int64_t batch_tokens);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_SCRATCH_PLAN_H_
