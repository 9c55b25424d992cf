// One video in the making: its position and its memory. Only the thread that issues passes uses it.
#ifndef LONGTAKE_ENGINE_RUNTIME_SESSION_H_
#define LONGTAKE_ENGINE_RUNTIME_SESSION_H_

#include <array>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "engine/engine.h"
#include "engine/models/sana/causal_state.h"
#include "engine/runtime/pass_list.h"
#include "engine/runtime/session_position.h"
#include "engine/runtime/video_model.h"

namespace longtake {

// The memory of one slot, by region.
struct SlotMemory {
  std::byte* state = nullptr;  // the state, then its spare
  std::byte* latents = nullptr;
  std::byte* prompt = nullptr;
};

class Session {
 public:
  // `blocks`: latent frames of each block. `at`: the position to continue from; the caller fills the memory that
  // Memory() lists.
  Session(const VideoModel& model, const SizeShape& shape, std::vector<int> blocks, const SessionSpec& spec,
          const SlotMemory& memory, const SessionPosition& at = {});

  const SizeShape& shape() const { return shape_; }
  const SizedVideoDecoder& decoder() const { return shape_.Decoder(spec_.decoder); }
  const std::vector<int>& blocks() const { return lengths_; }
  const SessionSpec& spec() const { return spec_; }  // with its adapters' digests
  std::span<const AppliedAdapter> adapters() const { return adapters_; }
  SessionProgress progress() const;

  // The session as it was when the block being made began: its position, and the pieces of device memory that later
  // passes read. The position determines the number and sizes of the pieces. The decoder's caches are not among them: a
  // move copies them as well, a restore rebuilds them.
  SessionPosition BlockStart() const;
  std::vector<std::span<std::byte>> Memory() const;
  // The latents of the last committed block, f32.
  std::span<std::byte> FinishedLatents() const;
  // Continues from `at`; the caller fills the memory that Memory() then lists.
  void StandAt(const SessionPosition& at);
  // The pieces that Memory() would list at that position.
  std::vector<std::span<std::byte>> MemoryAt(const SessionPosition& at) const {
    return Session(model_, shape_, lengths_, spec_, memory_, at).Memory();
  }
  // Computes the fields of the position that a checkpoint does not store. DataLoss: a session with these blocks cannot
  // have this position.
  absl::Status CompletePosition(SessionPosition* at) const;

  // FailedPrecondition states why the pass cannot run now. For a session that has failed, returns the status it failed
  // with.
  absl::Status Check(const Pass& pass) const;
  // A pass failed halfway. The session runs no further pass.
  void Fail(const absl::Status& status) { failed_.Update(status); }

  // ---- First image. Its latent frame is encoded together with the first prompt, in the decoder's lane.
  bool NeedsImage() const { return spec_.first_image != nullptr && at_.block == 0 && !at_.has_prompt; }
  float* ImageLatent() const;  // f32 [C, 1, height, width]
  // Whether the block being made begins with the pass that commits the image (AddImagePass).
  bool CommitsImage() const { return at_.block == 0 && image_is(FirstImageUse::kPrefix); }
  void AddImagePass(PassList& passes);
  void ImageCommitted() { state_->Committed(); }

  // ---- Text encoder. The K/V of the next prompt go into the prompt slot that is not in use.
  void* NextPrompt(bool negative);
  void PromptEncoded(int64_t tokens, int64_t negative_tokens);

  // ---- Transformer
  // Switches to a waiting prompt. Returns true if the last block must then be committed again under it
  // (AddRecommitPass).
  bool TakeUpPrompt();
  void AddRecommitPass(PassList& passes);
  void Recommitted() { state_->Committed(); }
  // Event of the decoder's lane: the transformer may write states and prompts only after it, because a save reads them.
  Event saved() const { return saved_; }
  // `event` of the transformer's lane: states or prompts have been written.
  void StateWritten(Event event) { state_written_ = event; }
  // Call before step 0. Fixes the block's number of steps and fills its first noise, except for a held image's frame.
  // The noise overwrites the block before last, so it waits until the decoder's lane has read that one.
  void StartBlock(Ops& ops, Ops& decoder_ops, int level);
  // Adds one pass, or two with guidance: the second has the negative prompt.
  void AddDenoisePasses(PassList& passes) const;
  // Applies the velocities that these passes have computed.
  void Denoised(Ops& ops);
  // `event`: recorded after Denoised.
  void LatentsWritten(Event event) { written_[at_.working] = event; }
  // Adds nothing for bidirectional models: they have no state to write.
  void AddCommitPass(PassList& passes) const;
  void Committed();
  // Warm-up only: skips the steps of the block before `step`. Its latents stay noise.
  void SkipToStep(int step) { at_.step = step; }

  // ---- Decoder. A DecodeInput is frame `t` of `latents`, which has `frames` latent frames.
  struct DecodeInput {
    const float* latents;
    int64_t frames, t;
    int64_t frame;  // index in the video
    VideoStream* stream;
    int64_t first_video_frame;
    int video_frames;
  };
  // The caches are the decoder's that decoded last: another one's have to be rebuilt, where there are any.
  void UseDecoder(DecoderKind decoder) { spec_.decoder = decoder; }
  // Returns the next latent frame and counts it as decoded. The caller sets the stream's caches.
  DecodeInput NextDecode();
  // Event of the transformer's lane: the finished block's latents may be read only after it.
  Event latents_written() const { return written_[at_.finished]; }
  // `event` of the decoder's lane: the finished block's latents have been read.
  void LatentsRead(Event event) { read_[at_.finished] = event; }
  // True if no latent frame has been decoded, so that there are no caches yet.
  bool begins_decoding() const { return at_.decoded == 0; }
  // Replaces `copies` by those that keep latent frame `frame` of the finished block for rebuilding caches. The last
  // VideoModel::kept_latents() decoded frames are kept, in memory that only the decoder's lane uses.
  void KeepLatents(int64_t frame, std::vector<CopyPart>* copies) const;

  // Rebuilds the decoder's caches: after BeginRebuild, decode each frame that NextRebuild returns and discard the video
  // frames. `caches` is the session's slot of them. NextRebuild returns no frame if the session has not begun to
  // decode.
  void BeginRebuild(std::byte* caches);
  std::optional<DecodeInput> NextRebuild();

  // ---- Saving, in the decoder's lane
  // Event of the transformer's lane: Memory() may be read only after it.
  Event state_written() const { return state_written_; }
  // `event`: recorded after Memory() was read.
  void Saved(Event event) {
    saved_ = event;
    LatentsRead(event);
  }

 private:
  bool image_is(FirstImageUse use) const { return spec_.first_image != nullptr && model_.first_image() == use; }
  // Latent frames of a block that its passes do not make: the image as a finished block of its own.
  int prefix_frames(int block) const { return block == 0 && image_is(FirstImageUse::kPrefix) ? 1 : 0; }
  int made_frames(int block) const { return lengths_[block] - prefix_frames(block); }
  int block_frames() const { return made_frames(at_.block); }
  int block_begin() const { return at_.first_frame + prefix_frames(at_.block); }  // first latent frame that passes make
  int64_t elements() const { return plane_elements_ * block_frames(); }
  bool HoldsImage() const { return at_.block == 0 && image_is(FirstImageUse::kHeld); }
  // Copies the image to latent frame 0 of the block being made.
  void HoldImage(Ops& ops);
  float* Latents(int index) const;
  float* KeptLatents(int64_t frame) const;
  int64_t finished_begin() const { return at_.first_frame - made_frames(at_.block - 1); }  // of the finished block
  // For a latent frame that is kept or belongs to the finished block.
  DecodeInput Input(int64_t frame);
  // Appends a pass without state and outputs.
  TransformerPass& AddPass(PassList& passes, const float* latents, int frames, int first_frame, float timestep) const;
  PromptKv Prompt(bool negative) const;

  const VideoModel& model_;
  const SizeShape& shape_;
  SessionSpec spec_;
  std::vector<AppliedAdapter> adapters_;
  SlotMemory memory_;
  std::vector<int> lengths_;
  int64_t plane_elements_;  // of one latent frame, all channels

  std::optional<CausalState> state_;
  std::vector<CopyPart> held_;  // copies of HoldImage
  VideoStream stream_;
  SessionPosition at_;
  absl::Status failed_;
  // For each latent buffer (working and finished swap roles), when the transformer's lane last wrote it and when the
  // decoder's lane last read it.
  std::array<Event, 2> written_ = {}, read_ = {};
  Event state_written_ = 0, saved_ = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_SESSION_H_
