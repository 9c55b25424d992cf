// One small video through every kind of pass, before the first session is opened.
#ifndef LONGTAKE_ENGINE_RUNTIME_WARM_UP_H_
#define LONGTAKE_ENGINE_RUNTIME_WARM_UP_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "engine/runtime/executor.h"
#include "engine/runtime/session.h"
#include "engine/runtime/video_model.h"

namespace longtake {

// What passes make on their first run (kernels, tables, scratch) is made now, and what the machine cannot do shows now.
// `ops`: the transformer's lane. `memory`: of slot 0, which nobody uses. The video has the smallest size and, where the
// model is causal, two blocks of one latent frame with a change of prompt between them, so that the second one reads a
// state, commits the first one again, and decodes a frame of the kind that follows the first. It is saved after each
// block and restored at the end. Steps between a block's second and last are left out.
//
// Returns the CRC-32C of the blocks' latents and of all video frames. Those come from every kind of pass with a fixed
// seed and fixed prompts, so engines that compute differently give different sums, whichever part differs: a kernel, an
// algorithm that a library chose, the C library's logarithm.
absl::StatusOr<uint32_t> WarmUp(Ops& ops, const VideoModel& model, Executor& executor, const SlotMemory& memory);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_WARM_UP_H_
