// Asks the device for passes, and later waits for them. It has no threads of its own.
#ifndef LONGTAKE_ENGINE_RUNTIME_EXECUTOR_H_
#define LONGTAKE_ENGINE_RUNTIME_EXECUTOR_H_

#include <array>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "engine/ops/ops.h"
#include "engine/runtime/decoder_caches.h"
#include "engine/runtime/host_staging.h"
#include "engine/runtime/pass_batch.h"
#include "engine/runtime/scratch_plan.h"
#include "engine/runtime/session.h"
#include "engine/runtime/video_model.h"

namespace longtake {

// The device's lanes may be one. What a session's passes read and write is ordered on the device when they are issued:
// latents are decoded after they were denoised, and overwritten after they were decoded. Nothing else that both lanes
// touch is written by either.
class Executor {
 public:
  // Allocates the scratch of `plan`. Throws bad_alloc.
  Executor(const PartOps& parts, const VideoModel& model, DecoderCaches& caches, const ScratchPlan& plan);

  // Device memory that passes work in; planned, and used so far.
  Scratch::Use scratch_use() const;
  size_t staging_bytes() const { return staging_.bytes(); }
  static size_t StagingBytes(const VideoModel& model);  // the same, before there is one
  // Host memory for one checkpoint on its way from a device; 0 where the lane works in the host's memory.
  static size_t CheckpointStagingBytes(Ops& decoder_ops, const VideoModel& model);

  using Issued = absl::FunctionRef<void(IssuedPasses* passes)>;
  using Refused = absl::FunctionRef<void(const BoundPass& pass, absl::Status status)>;
  // Asks for passes of one lane and counts them as run; one call at a time. Each pass is either refused, or one of what
  // `issued` is given, in the order in which the lane runs them. Whoever is given them calls Await.
  //
  // A pass during which something throws is refused with a status of it, its session has failed (but not by a save),
  // and so have those that share its transformer batch.
  //
  // No more than kStagedDecodes decodes may be issued and not yet awaited, and of a device one save: the next one
  // blocks until one is.
  static constexpr int kStagedDecodes = 4;
  void Issue(std::span<const BoundPass> passes, Issued issued, Refused refused);

  using Done = absl::FunctionRef<void(const IssuedPasses::One& one, PassResult result)>;
  // Blocks until the passes have ended, then calls `done` for each. Each lane's in the order of their issue, one call
  // at a time; from any thread.
  void Await(IssuedPasses* passes, Done done);

 private:
  struct Recycler {
    Executor* executor;
    void operator()(IssuedPasses* passes) const { executor->Recycle(passes); }
  };
  using Handle = std::unique_ptr<IssuedPasses, Recycler>;
  Handle NewIssued(Lane lane, size_t passes);
  void Recycle(IssuedPasses* passes);

  absl::StatusOr<Handle> IssueEncode(const BoundPass& p);
  Handle IssueDecode(const BoundPass& p);
  Handle IssueSave(const BoundPass& p);
  absl::StatusOr<Handle> IssueRestore(const BoundPass& p);
  // A latent frame, which is then kept for rebuilding caches. In front of what it works in, scratch has room for a
  // 4:2:0 frame.
  void Decode(Session& session, const Session::DecodeInput& in, SizedVideoDecoder::Emit emit);
  uint8_t* DecoderScratch() const {
    return static_cast<uint8_t*>((decoder_scratch_ == nullptr ? scratch_ : decoder_scratch_)->data());
  }
  // The bytes of a save that has ended.
  std::vector<std::byte> Sealed(SavedSession& saved);
  void IssueTransformer(std::span<const BoundPass> passes, Issued issued, Refused refused);
  // batch_, which is empty afterwards.
  void IssueBatch(Issued issued, Refused refused);
  Handle RunBatch();

  const PartOps& parts_;
  Ops& ops_;  // the transformer's
  Ops& decoder_ops_;
  const VideoModel& model_;
  DecoderCaches& caches_;
  const int64_t batch_tokens_;
  std::unique_ptr<Buffer> scratch_, decoder_scratch_;  // the second one null where the lanes are one
  HostStaging staging_;
  std::optional<HostStaging> checkpoint_staging_;
  // Of the decode at hand.
  std::vector<CopyPart> copies_;
  // By lane: when what was last awaited had ended.
  std::array<std::chrono::steady_clock::time_point, 2> ended_;

  // The transformer batch at hand. These lists keep their memory for the next one.
  std::vector<BoundPass> batch_;
  std::vector<int64_t> tokens_;  // of each pass
  PassList passes_, recommit_;

  std::mutex mutex_;  // Issue and Await run on different threads
  std::vector<std::unique_ptr<IssuedPasses>> all_ ABSL_GUARDED_BY(mutex_);
  std::vector<IssuedPasses*> unused_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_EXECUTOR_H_
