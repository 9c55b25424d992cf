#include "engine/runtime/slot_engine.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/exception_status.h"
#include "common/status_macros.h"
#include "common/thread.h"
#include "engine/runtime/warm_up.h"

namespace longtake {

SlotEngine::SlotEngine(PartOps parts, std::unique_ptr<VideoModel> model, const MemoryPlan& plan,
                       const ScratchPlan& scratch)
    : parts_(std::move(parts)),
      model_(std::move(model)),
      plan_(plan),
      state_(parts_.transformer(), plan.slot.state + plan.slot.state_spare, plan.slots),
      latents_(parts_.transformer(), plan.slot.latents, plan.slots),
      decoder_caches_(parts_.decoder(), plan.slot.decoder_cache, plan.slots, plan.decoder_cache_slots),
      prompt_(parts_.transformer(), plan.slot.prompt, plan.slots),
      executor_(parts_, *model_, decoder_caches_, scratch),
      table_(plan.slots),
      // If the lanes take turns, decodes go first, because a viewer waits for them. If they overlap, transformer
      // batches are launched first, so that the launches of a latent frame's decode (about 500) do not delay them.
      queue_(parts_.lanes_overlap() ? Lane::kTransformer : Lane::kDecoder) {
  runnable_.reserve(plan.slots);
}

absl::Status SlotEngine::Start() {
  ASSIGN_OR_RETURN(const WarmedUp warm, WarmUp(parts_.transformer(), *model_, executor_, MemoryOf(0)));
  model_->SetNumericsId(parts_, warm.golden_sum);
  model_->SetTinyDecodeCost(warm.tiny_decode_cost);
  if (parts_.lanes_overlap()) {
    for (std::unique_ptr<CompletionThread>& waiter : waiters_) {
      ASSIGN_OR_RETURN(waiter, CompletionThread::Start([this](IssuedPasses* passes) { Await(passes); }));
    }
  }
  ASSIGN_OR_RETURN(thread_, StartThread("the engine's thread", [this] { RunBatches(); }));
  return absl::OkStatus();
}

SlotEngine::~SlotEngine() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.NotifyOne();
  if (thread_.joinable()) thread_.join();
}

uint64_t SlotEngine::host_bytes_left() const {
  const MemoryBudget budget = MemoryBudget::Detect();
  const MemoryLimit* limit = budget.tightest();
  return limit == nullptr ? Engine::host_bytes_left() : limit->available();
}

std::vector<MemoryRegion> SlotEngine::memory() const {
  const int slots = plan_.slots;
  int used = 0;
  {
    const MutexLock lock(mutex_);
    used = slots - table_.free_slots();
  }
  const Scratch::Use scratch = executor_.scratch_use();
  std::vector<MemoryRegion> regions = {
      {.name = "weights", .planned_bytes = plan_.weights, .used_bytes = plan_.weights},
      {.name = "scratch", .planned_bytes = scratch.planned, .used_bytes = scratch.used},
      {.name = "frames", .planned_bytes = executor_.staging_bytes(), .used_bytes = executor_.staging_bytes()}};
  if (plan_.adapters > 0) {
    regions.push_back({.name = "adapters", .planned_bytes = plan_.adapters, .used_bytes = plan_.adapters});
  }
  // Where the device works in host memory, a save makes its result there, and between saves nothing is held.
  regions.push_back({"checkpoint", plan_.checkpoint, plan_.device_memory > 0 ? plan_.checkpoint : 0});
  const auto add = [&](const char* name, uint64_t bytes, int of, int used_of) {
    regions.push_back({name, bytes * of, bytes * used_of, of, used_of});
  };
  add("state", plan_.slot.state, slots, used);
  add("state_spare", plan_.slot.state_spare, slots, used);
  add("latents", plan_.slot.latents, slots, used);
  const int cache_slots = plan_.decoder_cache_slots;
  add("decoder_cache", plan_.slot.decoder_cache, cache_slots, std::min(used, cache_slots));
  if (const size_t bytes = decoder_caches_.host_bytes(); bytes > 0) {
    regions.push_back({"decoder_cache_host", bytes, bytes, slots, used});
  }
  add("prompt", plan_.slot.prompt, slots, used);
  return regions;
}

std::vector<int> SlotEngine::BlockLengths(int latent_frames, bool first_image) const {
  return model_->BlockLengths(latent_frames, first_image);
}

absl::StatusOr<SessionId> SlotEngine::OpenSession(const SessionSpec& spec) {
  ASSIGN_OR_RETURN(const SizeShape* const shape, model_->CheckSpec(spec));
  const MutexLock lock(mutex_);
  if (!failed_.ok()) return failed_;
  return table_.Open(
      [&](int slot) { return std::make_unique<Session>(*model_, *shape, BlocksOf(spec), spec, MemoryOf(slot)); });
}

void SlotEngine::CloseSession(SessionId id) {
  const MutexLock lock(mutex_);
  table_.Close(id);
}

absl::StatusOr<SessionProgress> SlotEngine::progress(SessionId id) const {
  const MutexLock lock(mutex_);
  const SessionTable::Entry* entry = table_.Find(id);
  if (entry == nullptr) return absl::NotFoundError("session: unknown");
  return entry->progress;
}

absl::Status SlotEngine::CheckCheckpoint(const SessionSpec& spec, std::span<const std::byte> checkpoint) const {
  ASSIGN_OR_RETURN(const SizeShape* const shape, model_->CheckSpec(spec));
  // Measures memory without accessing it, so any slot's will do.
  const Session session(*model_, *shape, BlocksOf(spec), spec, MemoryOf(/*slot=*/0));
  std::span<const std::byte> memory;
  return executor_.ReadPosition(session, checkpoint, &memory).status();
}

PassBatch::Bound SlotEngine::Bind(const Pass& pass, const PassBatch& batch) {
  if (LaneOf(pass.kind) != batch.lane) {
    return {.refusal = absl::InvalidArgumentError("pass: it belongs to the other lane")};
  }
  SessionTable::Entry* entry = table_.Find(pass.session);
  if (entry == nullptr) return {.refusal = absl::NotFoundError("session: unknown")};
  if (absl::Status status = table_.Begin(*entry, pass.kind, batch.sequence); !status.ok()) {
    return {.refusal = std::move(status)};
  }
  return {.entry = entry};
}

void SlotEngine::Submit(Lane lane, std::vector<Pass> passes, std::function<void(size_t, PassResult)> done) {
  const MutexLock lock(mutex_);
  PassBatch* batch = queue_.New(lane);
  batch->bound.reserve(passes.size());
  batch->passes = std::move(passes);
  batch->done = std::move(done);
  batch->pending = batch->passes.size() + 1;  // plus one until the batch has been issued
  unfinished_ += batch->pending;
  for (const Pass& pass : batch->passes) batch->bound.push_back(Bind(pass, *batch));
  queue_.Push(batch);
  changed_.NotifyOne();
}

int SlotEngine::free_slots() const {
  const MutexLock lock(mutex_);
  return failed_.ok() ? table_.free_slots() : 0;
}

// ---- The engine's thread

void SlotEngine::PushTask(std::function<void()> task) {
  queue_.PushTask(std::move(task));
  changed_.NotifyOne();
}

void SlotEngine::RunBatches() {
  while (true) {
    BatchQueue::Next next;
    {
      MutexLock lock(mutex_);
      // On destruction, everything that was submitted still runs, and so does what its completions submit.
      changed_.Wait(lock, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return !queue_.empty() || (stopping_ && unfinished_ == 0);
      });
      if (queue_.empty()) return;
      next = queue_.Pop();
    }
    if (next.batch == nullptr) {
      next.task();
    } else {
      RunBatch(*next.batch);
    }
  }
}

void SlotEngine::RunBatch(PassBatch& batch) {
  runnable_.clear();
  for (size_t i = 0; i < batch.passes.size(); ++i) {
    const PassBatch::Bound& bound = batch.bound[i];
    if (bound.entry == nullptr) {
      Complete(batch, i, {.status = bound.refusal});
    } else {
      runnable_.push_back({.pass = &batch.passes[i],
                           .session = bound.entry->session.get(),
                           .slot = bound.entry->slot,
                           .batch = &batch,
                           .index = i});
    }
  }
  executor_.Issue(
      runnable_,
      [this](IssuedPasses* passes) {
        CompletionThread* waiter = waiters_[static_cast<size_t>(passes->lane)].get();
        if (waiter == nullptr) {
          Await(passes);
        } else {
          waiter->Post(passes);
        }
      },
      [this](const BoundPass& pass, absl::Status status) {
        End(pass, {.status = std::move(status)}, pass.session->progress());
      });
  Finished(batch);
}

// ---- Completion

void SlotEngine::Await(IssuedPasses* passes) {
  executor_.Await(passes, [this](const IssuedPasses::One& one, PassResult result) {
    if (!result.status.ok()) NoteFailure();
    End(one.pass, std::move(result), one.progress);
  });
}

// The entry is updated before the completion is called, so that the completion may submit the session's next pass.
void SlotEngine::End(const BoundPass& pass, PassResult result, const SessionProgress& progress) {
  {
    const MutexLock lock(mutex_);
    table_.End(*pass.batch->bound[pass.index].entry, pass.pass->kind, progress);
  }
  Complete(*pass.batch, pass.index, std::move(result));
}

void SlotEngine::Complete(PassBatch& batch, size_t index, PassResult result) {
  {
    const MutexLock completing(completing_);  // one at a time, on whichever thread
    batch.done(index, std::move(result));
  }
  Finished(batch);
}

// Counts down what the batch and the destructor wait for.
void SlotEngine::Finished(PassBatch& batch) {
  const MutexLock lock(mutex_);
  if (--batch.pending == 0) queue_.Recycle(&batch);
  if (--unfinished_ == 0) changed_.NotifyOne();
}

// ---- Failures

absl::Status SlotEngine::Guarded(absl::FunctionRef<void()> copy) {
  absl::Status status;
  try {
    copy();
  } catch (...) {
    status = StatusOfCurrentException();
  }
  status.Update(parts_.transformer().device().Synchronize());
  status.Update(parts_.decoder().device().Synchronize());
  if (!status.ok()) NoteFailure();
  return status;
}

void SlotEngine::NoteFailure() {
  absl::Status status = parts_.transformer().device().Synchronize(0);
  status.Update(parts_.decoder().device().Synchronize(0));
  if (status.ok()) return;
  const MutexLock lock(mutex_);
  failed_ = absl::UnavailableError(absl::StrCat("the device has failed: ", status.message()));
}

}  // namespace longtake
