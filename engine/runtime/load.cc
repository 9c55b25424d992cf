#include "engine/runtime/load.h"

#include <algorithm>
#include <utility>

#include "common/status_macros.h"
#include "engine/core/freed_heap.h"
#include "engine/core/memory_budget.h"
#include "engine/runtime/slot_engine.h"

namespace longtake {
namespace {

// Tokens of one transformer batch. Beyond a few thousand rows a matrix product does not become more efficient, while
// scratch grows by 60 KB a token at the 2B model's width.
constexpr int64_t kBatchTokens = 4096;

}  // namespace

absl::StatusOr<std::unique_ptr<MovableEngine>> LoadSlotEngine(const EngineOptions& options, int device, int slots) {
  ASSIGN_OR_RETURN(PartOps parts, PartOps::Make(options, device));
  return LoadSlotEngine(options, std::move(parts), slots);
}

absl::StatusOr<std::unique_ptr<MovableEngine>> LoadSlotEngine(const EngineOptions& options, PartOps parts, int slots) {
  ASSIGN_OR_RETURN(std::unique_ptr<VideoModel> model, VideoModel::Load(parts, options.model_dir, options.progress));
  if (!options.adapters_dir.empty()) {
    RETURN_IF_ERROR(model->LoadAdapters(parts, options.adapters_dir, options.progress));
  }
  for (Ops* ops : parts.distinct()) RETURN_IF_ERROR(ops->device().Synchronize());  // the uploads of the weights

  const ScratchPlan scratch = PlanScratch(parts, *model, std::min(kBatchTokens, slots * model->max_pass_tokens()));
  const int cache_slots = options.decoder_cache_slots == 0 ? slots : std::min(options.decoder_cache_slots, slots);
  uint64_t mapped = 0;
  for (const Ops* ops : parts.distinct()) mapped += ops->weights().restored_bytes();
  const MemoryPlan plan{.slot = model->slot(),
                        .slots = slots,
                        .decoder_cache_slots = cache_slots,
                        .weights = model->weight_bytes(),
                        .adapters = model->adapter_bytes(),
                        .mapped = mapped,
                        .scratch = scratch.bytes(),
                        .frames = Executor::StagingBytes(*model),
                        .checkpoint = model->info().max_checkpoint_bytes,
                        .others = options.others_bytes ? options.others_bytes(model->info()) : 0,
                        .device_memory = parts.transformer().device().memory_bytes()};
  ReleaseFreedHeap();  // so that the budget includes memory that loading has freed
  const MemoryBudget host = MemoryBudget::Detect();
  if (options.log) options.log(Describe(plan, host));
  RETURN_IF_ERROR(CheckMemory(plan, host));
  auto engine = std::make_unique<SlotEngine>(std::move(parts), std::move(model), plan, scratch);
  if (const absl::Status started = engine->Start(); !started.ok()) {
    // The plan omits small amounts: the vocabulary, threads, the heap. They do not fit into a limit just above the
    // plan.
    return WithWhatIsLeft(started);
  }
  ReleaseFreedHeap();
  return engine;
}

}  // namespace longtake
