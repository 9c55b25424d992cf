// One video being made: where it stands and where its memory lies. Used by the engine's thread alone, but for progress.
#ifndef LONGTAKE_ENGINE_RUNTIME_SESSION_H_
#define LONGTAKE_ENGINE_RUNTIME_SESSION_H_

#include <array>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "engine/engine.h"
#include "engine/models/sana/causal_state.h"
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
  // `at`: where it goes on, with what Memory() names already, or not yet, in its place.
  Session(const VideoModel& model, const SizeShape& shape, const SessionSpec& spec, const SlotMemory& memory,
          const SessionPosition& at = {});

  const SizeShape& shape() const { return shape_; }
  const SessionSpec& spec() const { return spec_; }
  SessionProgress progress() const;

  // What moves with a session that stands between two blocks: its position, and the pieces of device memory that the
  // next block reads. How many and how long they are follows from the position. `caches` as of NextDecode, null where
  // the session has not begun to decode.
  const SessionPosition& position() const { return at_; }
  std::vector<std::span<std::byte>> Memory(std::byte* caches) const;

  // FailedPrecondition says why the pass cannot run now.
  absl::Status Check(const Pass& pass) const;

  // ---- The text lane. The next prompt's K/V go where the prompt in use is not.
  void* NextPrompt(bool negative);
  void PromptEncoded(int64_t tokens, int64_t negative_tokens);

  // ---- The transformer lane.
  // Takes up a waiting prompt; true where the last block must be committed again under it first (RecommitPass).
  bool TakeUpPrompt();
  TransformerPass RecommitPass();
  void Recommitted() { state_->Committed(); }
  // One pass, or two with guidance: the second is the negative prompt's.
  std::vector<TransformerPass> DenoisePasses() const;
  // Settles the block's steps and fills its first noise, once `decoder_ops` has read the block before last from there;
  // before step 0.
  void StartBlock(Ops& ops, Ops& decoder_ops, int level);
  // Applies the velocities of DenoisePasses.
  void Denoised(Ops& ops);
  // `event`: after that.
  void LatentsWritten(Event event) { written_[at_.working] = event; }
  // Empty for bidirectional models: there is no state to write.
  std::optional<TransformerPass> CommitPass() const;
  void Committed();

  // ---- The VAE lane. Decodes `latents`, frame `t` of `frames`.
  struct DecodeInput {
    const float* latents;
    Event written;  // of the transformer's lane: before it they may not be read
    int buffer;
    int64_t frames, t;
    WanStream* stream;
    bool begins;  // the session's first: there are no caches yet
    int64_t first_video_frame;
  };
  // The latent frame counts as decoded from then on. Its caches are still to be put into the stream.
  DecodeInput NextDecode();
  // `event`: of the decoder's stream, after the decoding.
  void LatentsRead(const DecodeInput& in, Event event) { read_[in.buffer] = event; }
  bool begins_decoding() const { return at_.decoded == 0; }

 private:
  int block_frames() const { return lengths_[at_.block]; }
  int64_t elements() const { return plane_elements_ * block_frames(); }
  float* Latents(int index) const;
  TransformerPass MakePass(const float* latents, int frames, int first_frame, float timestep) const;
  PromptKv Prompt(bool negative) const;

  const VideoModel& model_;
  const SizeShape& shape_;
  SessionSpec spec_;
  SlotMemory memory_;
  std::vector<int> lengths_;
  int64_t plane_elements_;  // of one latent frame, all channels

  std::optional<CausalState> state_;
  WanStream stream_;
  SessionPosition at_;
  // Of the working and the finished latents, which change places: when the transformer's lane last wrote them, and the
  // decoder's last read them.
  std::array<Event, 2> written_ = {}, read_ = {};
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_SESSION_H_
