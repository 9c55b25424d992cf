// Issues passes to the device and waits for their completion. It has no threads of its own.
#ifndef LONGTAKE_ENGINE_RUNTIME_EXECUTOR_H_
#define LONGTAKE_ENGINE_RUNTIME_EXECUTOR_H_

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "engine/engine.h"
#include "engine/ops/ops.h"
#include "engine/runtime/decoder_caches.h"
#include "engine/runtime/host_staging.h"
#include "engine/runtime/pass_batch.h"
#include "engine/runtime/scratch_plan.h"
#include "engine/runtime/session.h"
#include "engine/runtime/video_model.h"

namespace longtake {

// The two lanes may share one stream. Where they do not, Issue orders with events what both access: latents are decoded
// after they were denoised and overwritten after they were decoded; states and prompts are saved after they were
// written and overwritten after they were saved.
class Executor {
 public:
  // Allocates the scratch of `plan`. Throws bad_alloc.
  Executor(const PartOps& parts, const VideoModel& model, DecoderCaches& caches, const ScratchPlan& plan);

  // Scratch that passes and operations work in: bytes planned, and the most used so far.
  Scratch::Use scratch_use() const;
  size_t staging_bytes() const { return staging_.bytes() + pixels_.size() * sizeof(float); }
  static size_t StagingBytes(const VideoModel& model);  // of an executor that is yet to be made

  using Issued = absl::FunctionRef<void(IssuedPasses* passes)>;
  using Refused = absl::FunctionRef<void(const BoundPass& pass, absl::Status status)>;
  // Issues passes of one lane and records them in their sessions as done; one call at a time. Each pass is either given
  // to `refused`, or is part of an IssuedPasses given to `issued`; those come in the order in which the lane runs them.
  // The receiver passes each one to Await.
  //
  // If issuing throws, the pass is refused with the exception's status. Its session has then failed, unless the pass
  // was a save, and so have the sessions of the passes in the same transformer batch.
  //
  // At most kStagedDecodes decodes may be issued and not yet awaited, and at most one save if checkpoints are staged.
  // Beyond that, Issue blocks until one has been awaited.
  static constexpr int kStagedDecodes = 4;
  void Issue(std::span<const BoundPass> passes, Issued issued, Refused refused);

  using Done = absl::FunctionRef<void(const IssuedPasses::One& one, PassResult result)>;
  // Blocks until the passes have finished, then calls `done` for each. May be called on any thread; the calls for one
  // lane are made one at a time, in the order of issue.
  void Await(IssuedPasses* passes, Done done);

  // Returns the position of a session that continues from these bytes, or what is wrong with them. `session` is one of
  // their spec; nothing of it is changed. `memory`: what Session::MemoryAt(position) is then filled with.
  absl::StatusOr<SessionPosition> ReadPosition(const Session& session, std::span<const std::byte> checkpoint,
                                               std::span<const std::byte>* memory) const;

 private:
  struct Recycler {
    Executor* executor;
    void operator()(IssuedPasses* passes) const { executor->Recycle(passes); }
  };
  using Handle = std::unique_ptr<IssuedPasses, Recycler>;
  Handle NewIssued(Lane lane, size_t passes);
  void Recycle(IssuedPasses* passes);

  absl::StatusOr<Handle> IssueEncode(const BoundPass& p);
  // Encodes the session's first image, in the decoder's lane.
  void EncodeImage(Session& session);
  Handle IssueDecode(const BoundPass& p);
  Handle IssueSave(const BoundPass& p);
  absl::StatusOr<Handle> IssueRestore(const BoundPass& p);
  // Decodes a latent frame and keeps a copy of it for rebuilding caches. DecoderScratch() begins with room for one
  // 4:2:0 frame, which `emit` uses; the decoder's workspace follows.
  void Decode(Session& session, const Session::DecodeInput& in, SizedVideoDecoder::Emit emit);
  // Of a session that has begun to decode: its caches, by its decoder, from its latents.
  void RebuildCaches(Session& session, int slot);
  uint8_t* DecoderScratch() const {
    return static_cast<uint8_t*>((decoder_scratch_ == nullptr ? scratch_ : decoder_scratch_)->data());
  }
  // Returns the checkpoint of a save that has finished on the device.
  std::vector<std::byte> Sealed(SavedSession& saved);
  void IssueTransformer(std::span<const BoundPass> passes, Issued issued, Refused refused);
  // Issues batch_ and empties it.
  void IssueBatch(Issued issued, Refused refused);
  Handle RunBatch();

  const PartOps& parts_;
  Ops& ops_;  // the transformer's
  Ops& decoder_ops_;
  const VideoModel& model_;
  DecoderCaches& caches_;
  const int64_t batch_tokens_;
  std::unique_ptr<Buffer> scratch_, decoder_scratch_;  // the second is null if the lanes share a stream
  HostStaging staging_;
  std::optional<HostStaging> checkpoint_staging_;
  // Copies of the decode being issued.
  std::vector<CopyPart> copies_;
  std::vector<float> pixels_;  // of the image being encoded; an upload from pageable memory has read it on return
  // For each lane, when the passes awaited last had finished.
  std::array<std::chrono::steady_clock::time_point, 2> ended_;

  // The transformer batch being issued. The lists are members so that the next batch reuses their memory.
  std::vector<BoundPass> batch_;
  std::vector<int64_t> tokens_;  // of each pass in batch_
  PassList passes_, beforehand_;

  Mutex mutex_;  // Issue and Await run on different threads
  std::vector<std::unique_ptr<IssuedPasses>> all_ ABSL_GUARDED_BY(mutex_);
  std::vector<IssuedPasses*> unused_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_EXECUTOR_H_
