// One video being made: where it stands and where its memory lies. Only the thread that issues passes uses it.
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

// A slot's memory, one pointer a region.
struct SlotMemory {
  std::byte* state = nullptr;  // state and spare
  std::byte* latents = nullptr;
  std::byte* prompt = nullptr;
};

class Session {
 public:
  // `blocks`: latent frames of each. `at`: where the session goes on; the caller fills what Memory() names.
  Session(const VideoModel& model, const SizeShape& shape, std::vector<int> blocks, const SessionSpec& spec,
          const SlotMemory& memory, const SessionPosition& at = {});

  const SizeShape& shape() const { return shape_; }
  const std::vector<int>& blocks() const { return lengths_; }
  const SessionSpec& spec() const { return spec_; }
  SessionProgress progress() const;

  // What a session is at the beginning of the block being made: its position, and the pieces of device memory that are
  // read from then on. How many and how long they are follows from the position. The decoder's caches are not among
  // them: they either go along (a move) or are rebuilt (a restore).
  SessionPosition BlockStart() const;
  std::vector<std::span<std::byte>> Memory() const;
  // The last block's, f32.
  std::span<std::byte> FinishedLatents() const;
  // The session goes on from there; the caller fills what Memory() names then.
  void StandAt(const SessionPosition& at);
  // What Memory() would be there.
  std::vector<std::span<std::byte>> MemoryAt(const SessionPosition& at) const {
    return Session(model_, shape_, lengths_, spec_, memory_, at).Memory();
  }
  // Fills in what a checkpoint leaves to its block. DataLoss: no session of these blocks can stand there.
  absl::Status CompletePosition(SessionPosition* at) const;

  // FailedPrecondition says why the pass cannot run now. Where the session has ended, the status it ended with.
  absl::Status Check(const Pass& pass) const;
  // Something went wrong in the middle of a pass: no pass runs any more.
  void Fail(const absl::Status& status) { failed_.Update(status); }

  // ---- The text encoder. The next prompt's K/V go where the prompt in use is not.
  void* NextPrompt(bool negative);
  void PromptEncoded(int64_t tokens, int64_t negative_tokens);

  // ---- The transformer.
  // Takes up a waiting prompt; true where the last block must be committed again under it first (AddRecommitPass).
  bool TakeUpPrompt();
  void AddRecommitPass(PassList& passes);
  void Recommitted() { state_->Committed(); }
  // Of the decoder's lane: behind it the transformer may write what a save reads (states, prompts).
  Event saved() const { return saved_; }
  // Of the transformer's lane, after one of those was written.
  void StateWritten(Event event) { state_written_ = event; }
  // Before step 0: settles the block's steps and fills its first noise, once the decoder's lane has read the block
  // before last from there.
  void StartBlock(Ops& ops, Ops& decoder_ops, int level);
  // One pass, or two with guidance: the second has the negative prompt.
  void AddDenoisePasses(PassList& passes) const;
  // Applies the velocities of these passes.
  void Denoised(Ops& ops);
  // `event`: after that.
  void LatentsWritten(Event event) { written_[at_.working] = event; }
  // Nothing for bidirectional models: there is no state to write.
  void AddCommitPass(PassList& passes) const;
  void Committed();
  // Leaves out steps of the block before `step`. Its latents are noise then, which is good enough to warm up with.
  void SkipToStep(int step) { at_.step = step; }

  // ---- The decoder. Decodes `latents`, frame `t` of `frames`.
  struct DecodeInput {
    const float* latents;
    int64_t frames, t;
    int64_t frame;  // of the video
    VideoStream* stream;
    int64_t first_video_frame;
    int video_frames;
  };
  // The next latent frame, which counts as decoded from then on. Its caches are still to be put into the stream.
  DecodeInput NextDecode();
  // Of the transformer's lane: before it the finished block's latents may not be read.
  Event latents_written() const { return written_[at_.finished]; }
  // `event`: of the decoder's lane, after the finished block's latents were read.
  void LatentsRead(Event event) { read_[at_.finished] = event; }
  // No latent frame has been decoded: there are no caches yet.
  bool begins_decoding() const { return at_.decoded == 0; }
  // Copies that keep latent frame `frame` of the finished block for rebuilding caches: the last
  // VideoModel::kept_latents() frames that were decoded are kept, in memory of the decoder's lane. Replaces `copies`.
  void KeepLatents(int64_t frame, std::vector<CopyPart>* copies) const;

  // Rebuilds the caches: decode what this gives, in turn, until there is no more, and drop the video frames. `caches`
  // of the session in their slot. No frame where the session has not begun to decode.
  void BeginRebuild(std::byte* caches);
  std::optional<DecodeInput> NextRebuild();

  // ---- Saving, in the decoder's lane.
  // Of the transformer's lane: before it Memory() may not be read.
  Event state_written() const { return state_written_; }
  // `event`: after Memory() was read.
  void Saved(Event event) {
    saved_ = event;
    LatentsRead(event);
  }

 private:
  int block_frames() const { return lengths_[at_.block]; }
  int64_t elements() const { return plane_elements_ * block_frames(); }
  float* Latents(int index) const;
  float* KeptLatents(int64_t frame) const;
  int64_t finished_begin() const { return at_.first_frame - lengths_[at_.block - 1]; }  // of the finished block
  // Of a latent frame that is kept or in the finished block.
  DecodeInput Input(int64_t frame);
  // A pass without state and outputs.
  TransformerPass& AddPass(PassList& passes, const float* latents, int frames, int first_frame, float timestep) const;
  PromptKv Prompt(bool negative) const;

  const VideoModel& model_;
  const SizeShape& shape_;
  SessionSpec spec_;
  SlotMemory memory_;
  std::vector<int> lengths_;
  int64_t plane_elements_;  // of one latent frame, all channels

  std::optional<CausalState> state_;
  VideoStream stream_;
  SessionPosition at_;
  absl::Status failed_;
  // Of the working and the finished latents, which change places: when the transformer's lane last wrote them, and the
  // decoder's last read them.
  std::array<Event, 2> written_ = {}, read_ = {};
  Event state_written_ = 0, saved_ = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_SESSION_H_
