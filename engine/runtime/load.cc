#include "engine/runtime/load.h"

#include <algorithm>
#include <utility>

#include "common/status_macros.h"
#include "engine/backend/backend.h"
#include "engine/core/memory_budget.h"
#include "engine/runtime/slot_engine.h"

namespace longtake {
namespace {

// Tokens of one transformer batch. Beyond a few thousand rows a matrix product gains nothing from more of them, and
// scratch grows with them (60 KB a token at the 2B width).
constexpr int64_t kBatchTokens = 4096;

}  // namespace

absl::StatusOr<std::unique_ptr<MovableEngine>> LoadSlotEngine(const EngineOptions& options, int device, int slots) {
  ASSIGN_OR_RETURN(std::unique_ptr<Ops> ops, MakeBackend({.backend = options.backend,
                                                          .dtype = options.dtype,
                                                          .isa = options.isa,
                                                          .threads = options.threads,
                                                          .device = device,
                                                          .cuda_graphs = options.cuda_graphs,
                                                          .log = options.log}));
  std::unique_ptr<Ops> decoder_ops;
  if (options.overlap_decoding) {
    ASSIGN_OR_RETURN(decoder_ops, ops->MakeStream());
  }
  Ops& decoder_lane = decoder_ops == nullptr ? *ops : *decoder_ops;
  ASSIGN_OR_RETURN(std::unique_ptr<VideoModel> model,
                   VideoModel::Load(*ops, decoder_lane, options.model_dir, options.progress));
  RETURN_IF_ERROR(ops->device().Synchronize());  // uploads of weights
  RETURN_IF_ERROR(decoder_lane.device().Synchronize());

  const ScratchPlan scratch =
      PlanScratch(*ops, decoder_lane, *model, std::min(kBatchTokens, slots * model->max_pass_tokens()));
  const int cache_slots = options.decoder_cache_slots == 0 ? slots : std::min(options.decoder_cache_slots, slots);
  const MemoryPlan plan{.slot = model->slot(),
                        .slots = slots,
                        .decoder_cache_slots = cache_slots,
                        .weights = model->weight_bytes(),
                        .scratch = scratch.bytes(),
                        .frames = Executor::StagingBytes(*model),
                        .device_memory = ops->device().memory_bytes()};
  const MemoryBudget host = MemoryBudget::Detect();
  if (options.log) options.log(Describe(plan, host));
  RETURN_IF_ERROR(CheckMemory(plan, host));
  auto engine = std::make_unique<SlotEngine>(std::move(ops), std::move(decoder_ops), std::move(model), plan, scratch);
  RETURN_IF_ERROR(engine->Start());
  return engine;
}

}  // namespace longtake
