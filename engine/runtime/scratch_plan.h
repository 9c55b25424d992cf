// How much memory passes work in: their own scratch and that of the operations they call.
#ifndef LONGTAKE_ENGINE_RUNTIME_SCRATCH_PLAN_H_
#define LONGTAKE_ENGINE_RUNTIME_SCRATCH_PLAN_H_

#include <cstddef>
#include <cstdint>

#include "engine/runtime/part_ops.h"
#include "engine/runtime/video_model.h"

namespace longtake {

struct ScratchPlan {
  // Of the largest transformer batch, which every single pass fits into.
  int64_t batch_tokens = 0;
  // Passes' own. Where the lanes are one, `transformer` serves both.
  size_t transformer = 0, decoder = 0;
  size_t operations = 0;  // of all parts
  size_t bytes() const { return transformer + decoder + operations; }
};

// For transformer batches of up to `batch_tokens` tokens, or of one pass. Tells all parts' operations what to reserve
// (Scratch::Plan); nothing is allocated.
ScratchPlan PlanScratch(const PartOps& parts, const VideoModel& model, int64_t batch_tokens);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_SCRATCH_PLAN_H_
