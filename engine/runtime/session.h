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

  // What moves with a session that stands between two blocks: its position, and the pieces of device memory that the
  // next block reads. How many and how long they are follows from the position. `caches` as of NextDecode, null where
  // the session has not begun to decode.
  const SessionPosition& position() const { return at_; }
  std::vector<std::span<std::byte>> Memory(std::byte* caches) const;

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
    Event written;  // of the transformer's lane: before it they may not be read
    int buffer;
    int64_t frames, t;
    VideoStream* stream;
    bool begins;  // the session's first frame: there are no caches yet
    int64_t first_video_frame;
    int video_frames;
  };
  // The next latent frame, which counts as decoded from then on. Its caches are still to be put into the stream.
  DecodeInput NextDecode();
  // `event`: of the decoder's stream, after the decoding.
  void LatentsRead(const DecodeInput& in, Event event) { read_[in.buffer] = event; }
  bool begins_decoding() const { return at_.decoded == 0; }

 private:
  int block_frames() const { return lengths_[at_.block]; }
  int64_t elements() const { return plane_elements_ * block_frames(); }
  float* Latents(int index) const;
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
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_SESSION_H_
