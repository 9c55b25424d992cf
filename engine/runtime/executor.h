// Asks the device for passes, and later waits for them. Knows no threads of its own.
#ifndef LONGTAKE_ENGINE_RUNTIME_EXECUTOR_H_
#define LONGTAKE_ENGINE_RUNTIME_EXECUTOR_H_

#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "engine/engine.h"
#include "engine/ops/ops.h"
#include "engine/runtime/decoder_caches.h"
#include "engine/runtime/frame_staging.h"
#include "engine/runtime/session.h"
#include "engine/runtime/video_model.h"

namespace longtake {

// A pass with its session, which outlives the pass.
struct BoundPass {
  const Pass* pass = nullptr;
  Session* session = nullptr;
  size_t index = 0;  // in the submitted list
  int slot = 0;      // of the session
};

// Passes that were asked for together, in one lane, and end together.
struct IssuedPasses {
  struct One {
    size_t index = 0;          // in the submitted list
    double share = 1;          // of the time
    SessionProgress progress;  // once it has ended
    DecodedFrames frames;      // of a decode: all but the bytes, which go to `staged`
    std::byte* staged = nullptr;
  };
  bool decoder_lane = false;
  Event event = 0;
  std::chrono::steady_clock::time_point issued;
  std::vector<One> passes;
};

// Two lanes, one of the transformer and the text encoder, one of the decoder; they may be one. What a session's passes
// read and write is ordered when they are issued, on the device: latents are decoded after they were denoised, and
// written over after they were decoded. Nothing else that both lanes touch is written by either.
class Executor {
 public:
  // Allocates scratch for transformer batches of up to `batch_tokens` tokens (at least one pass's), which PlanScratch
  // has planned. Throws bad_alloc.
  Executor(Ops& ops, Ops& decoder_ops, const VideoModel& model, DecoderCaches& caches, int64_t batch_tokens);

  // What the constructor will allocate, and what it will have operations reserve (Scratch::Reserve). First of all
  // this plans the latter.
  static size_t PlanScratch(Ops& ops, Ops& decoder_ops, const VideoModel& model, int64_t batch_tokens);
  // Device memory that passes work in; planned, and used so far.
  Scratch::Use scratch_use() const;
  size_t staging_bytes() const { return staging_.bytes(); }

  using Done = std::function<void(size_t index, PassResult result, const SessionProgress& progress)>;
  using Issued = std::function<void(IssuedPasses passes)>;
  // Asks for the passes and counts them as run; one at a time. Each is either refused, in `refused`, or one of what
  // `issued` is given, in the order in which each lane runs them. No more than kStagedDecodes decodes may be issued and
  // not yet awaited: the next one waits for that.
  static constexpr int kStagedDecodes = 4;
  void Issue(std::span<const BoundPass> passes, const Issued& issued, const Done& refused);

  // Waits for issued passes, then calls `done` for each. Each lane's in the order of their issue, one at a time; from
  // any thread.
  void Await(IssuedPasses passes, const Done& done);

 private:
  size_t own_scratch() const { return scratch_->size() + (decoder_scratch_ == nullptr ? 0 : decoder_scratch_->size()); }
  void Refuse(const BoundPass& p, const absl::Status& status, const Done& refused) const;
  absl::Status IssueEncode(const BoundPass& p);
  void IssueDecode(const BoundPass& p, const Session::DecodeInput& in, const Issued& issued);
  void IssueTransformer(std::span<const BoundPass> passes, const Issued& issued, const Done& refused);
  void IssueTransformerBatch(std::span<const BoundPass> passes, const Issued& issued);

  Ops& ops_;
  Ops& decoder_ops_;
  const VideoModel& model_;
  DecoderCaches& caches_;
  int64_t batch_tokens_;
  std::unique_ptr<Buffer> scratch_, decoder_scratch_;  // the second null where the lanes are one
  FrameStaging staging_;
  std::array<std::chrono::steady_clock::time_point, 2> ended_;  // of each lane: when what was last awaited had ended
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_EXECUTOR_H_
