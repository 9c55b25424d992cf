// The engine on one device: sessions in slots, and one thread that issues batches.
#ifndef LONGTAKE_ENGINE_RUNTIME_SLOT_ENGINE_H_
#define LONGTAKE_ENGINE_RUNTIME_SLOT_ENGINE_H_

#include <array>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "engine/engine.h"
#include "engine/runtime/batch_queue.h"
#include "engine/runtime/completion_thread.h"
#include "engine/runtime/decoder_caches.h"
#include "engine/runtime/device_memory.h"
#include "engine/runtime/executor.h"
#include "engine/runtime/memory_plan.h"
#include "engine/runtime/movable_engine.h"
#include "engine/runtime/part_ops.h"
#include "engine/runtime/scratch_plan.h"
#include "engine/runtime/session_image.h"
#include "engine/runtime/session_table.h"
#include "engine/runtime/video_model.h"

namespace longtake {

// Threads: callers submit. The engine's thread issues batches and runs tasks; only it uses sessions, Executor::Issue
// and the decoder caches. If the lanes overlap, each lane has a thread that waits for its issued passes.
class SlotEngine : public MovableEngine {
 public:
  // Allocates what the plans specify; throws bad_alloc.
  SlotEngine(PartOps parts, std::unique_ptr<VideoModel> model, const MemoryPlan& plan, const ScratchPlan& scratch);
  ~SlotEngine() override;

  // Runs the warm-up, then starts the threads. Call once, before any other method.
  absl::Status Start();

  const ModelInfo& model() const override { return model_->info(); }
  std::vector<MemoryRegion> memory() const override;
  uint64_t host_bytes_left() const override;
  bool lanes_overlap() const override { return parts_.lanes_overlap(); }
  std::vector<int> BlockLengths(int latent_frames, bool first_image) const override;
  absl::StatusOr<SessionId> OpenSession(const SessionSpec& spec) override;
  void CloseSession(SessionId id) override;
  absl::StatusOr<SessionProgress> progress(SessionId id) const override;
  absl::Status CheckCheckpoint(const SessionSpec& spec, std::span<const std::byte> checkpoint) const override;
  void Submit(Lane lane, std::vector<Pass> passes, std::function<void(size_t, PassResult)> done) override;

  int free_slots() const override;
  std::unique_ptr<Buffer> AllocateImage() override;
  size_t ImageBytes(SessionId id) const override;
  void TakeSession(SessionId id, Buffer& image, std::function<void(absl::StatusOr<SessionPosition>)> done) override;
  void PutSession(SessionId id, const SessionPosition& position, Buffer& image,
                  std::function<void(absl::Status)> done) override;

 private:
  PassBatch::Bound Bind(const Pass& pass, const PassBatch& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void PushTask(std::function<void()> task) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // ---- The engine's thread
  void RunBatches();
  void RunBatch(PassBatch& batch);

  // ---- Completion, on the engine's thread or the lane's
  void Await(IssuedPasses* passes);
  void End(const BoundPass& pass, PassResult result, const SessionProgress& progress);
  void Complete(PassBatch& batch, size_t index, PassResult result);
  void Finished(PassBatch& batch);

  // Runs `copy`, which may throw, and synchronizes the device.
  absl::Status Guarded(absl::FunctionRef<void()> copy);
  // Sets failed_ if the device has failed. It has then lost its sessions' memory for good, so no session is opened on
  // it any more.
  void NoteFailure();

  std::vector<int> BlocksOf(const SessionSpec& spec) const {
    return BlockLengths(spec.latent_frames, spec.first_image != nullptr);
  }
  SlotMemory MemoryOf(int slot) const { return {state_.at(slot), latents_.at(slot), prompt_.at(slot)}; }
  MemoryPieces MovingMemory(const Session& session, int slot, bool fresh);

  const PartOps parts_;
  const std::unique_ptr<VideoModel> model_;
  const MemoryPlan plan_;
  Slab state_, latents_;
  DecoderCaches decoder_caches_;
  Slab prompt_;
  Executor executor_;
  std::vector<BoundPass> runnable_;  // the runnable passes of the batch being issued

  mutable Mutex mutex_;
  ConditionVariable changed_;  // there is something to run, nothing is unfinished, or the engine stops
  SessionTable table_ ABSL_GUARDED_BY(mutex_);
  BatchQueue queue_ ABSL_GUARDED_BY(mutex_);
  absl::Status failed_ ABSL_GUARDED_BY(mutex_);
  size_t unfinished_ ABSL_GUARDED_BY(mutex_) = 0;  // sum of `pending` over all batches
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  Mutex completing_;  // held during a completion, so that only one runs at a time
  std::array<std::unique_ptr<CompletionThread>, 2> waiters_;  // by lane; null if the engine's thread waits itself
  std::thread thread_;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_SLOT_ENGINE_H_
