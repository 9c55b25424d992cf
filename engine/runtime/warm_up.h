// Makes one small video with every kind of pass, before the first session is opened.
#ifndef LONGTAKE_ENGINE_RUNTIME_WARM_UP_H_
#define LONGTAKE_ENGINE_RUNTIME_WARM_UP_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "engine/runtime/executor.h"
#include "engine/runtime/session.h"
#include "engine/runtime/video_model.h"

namespace longtake {

// Pays the cost of first runs (kernels, tables, scratch) now, and fails now if the machine cannot run a pass. `ops`:
// the transformer's lane. `memory`: of slot 0, which must be free. The video has the smallest size. If the model is
// causal it has two blocks of one latent frame, with a change of prompt between them, so that the second block reads a
// state, commits the first block again, and decodes a frame after the first. The session is saved after each block and
// restored at the end. Of each block's steps, those between the second and the last are skipped.
//
// Returns the CRC-32C of the blocks' latents and of all video frames. They come from every kind of pass with fixed seed
// and prompts, so engines that compute differently have different checksums, whether the difference is in a kernel, in
// an algorithm that a library chose, or in the C library's logarithm. Where there is a tiny decoder it decodes the same
// latents, and its frames count too.
struct WarmedUp {
  uint32_t golden_sum = 0;
  double tiny_decode_cost = 1;  // ModelInfo::tiny_decode_cost
};
absl::StatusOr<WarmedUp> WarmUp(Ops& ops, const VideoModel& model, Executor& executor, const SlotMemory& memory);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_WARM_UP_H_
