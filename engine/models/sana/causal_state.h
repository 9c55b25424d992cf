// A session's history in the transformer: constant in size, whatever the video's length. Specification section 4.
//
// Two forms. With window_blocks = 0 the running sum of all committed blocks' S and z; with window_blocks = k the last k
// blocks' contributions, in a ring. Both keep one slot more than they read, so that a commit never writes what the next
// pass, or a taken-back block, would read: committing is writing that slot and then counting up; taking a block back is
// counting down. The temporal convolution's last frame (the tail) is kept twice for the same reason.
#ifndef LONGTAKE_ENGINE_MODELS_SANA_CAUSAL_STATE_H_
#define LONGTAKE_ENGINE_MODELS_SANA_CAUSAL_STATE_H_

#include <cstddef>
#include <cstdint>

#include "engine/models/sana/transformer.h"

namespace longtake {

class CausalState {
 public:
  // `height`, `width` of the latents. `region` has Bytes(); it may hold anything, or with `committed` blocks what they
  // left in another's.
  CausalState(const SanaTransformer& model, int window_blocks, int height, int width, void* region, int committed = 0)
      : contribution_bytes_(model.ContributionBytes()),
        tail_bytes_(model.TailBytes(height, width)),
        window_(window_blocks),
        region_(static_cast<std::byte*>(region)),
        committed_(committed) {}

  static size_t StateBytes(const SanaTransformer& model, int window_blocks, int height, int width) {
    return (window_blocks == 0 ? 1 : window_blocks) * model.ContributionBytes() + model.TailBytes(height, width);
  }
  static size_t SpareBytes(const SanaTransformer& model, int height, int width) {
    return model.ContributionBytes() + model.TailBytes(height, width);
  }
  static size_t Bytes(const SanaTransformer& model, int window_blocks, int height, int width) {
    return StateBytes(model, window_blocks, height, width) + SpareBytes(model, height, width);
  }

  int committed() const { return committed_; }

  // The history that the block after the committed ones sees.
  void Read(TransformerPass* pass) const {
    pass->history.clear();
    const int first = window_ == 0 ? committed_ - 1 : committed_ - window_;
    for (int block = first < 0 ? 0 : first; block < committed_; ++block) pass->history.push_back(Slot(block));
    pass->tail = committed_ == 0 ? nullptr : Tail(committed_ - 1);
  }
  // The same, and where its commit pass writes. Call Committed() once that pass is done.
  void Write(TransformerPass* pass) const {
    Read(pass);
    pass->contribution_out = Slot(committed_);
    pass->store_sum = window_ == 0;
    pass->tail_out = Tail(committed_);
  }
  void Committed() { ++committed_; }
  // Forgets the last committed block; once, until the next commit (the slot before is overwritten then).
  void TakeBack() { --committed_; }

 private:
  int slots() const { return window_ == 0 ? 2 : window_ + 1; }
  float* Slot(int block) const {
    return reinterpret_cast<float*>(region_ + static_cast<size_t>(block % slots()) * contribution_bytes_);
  }
  void* Tail(int block) const {
    return region_ + static_cast<size_t>(slots()) * contribution_bytes_ + static_cast<size_t>(block % 2) * tail_bytes_;
  }

  size_t contribution_bytes_, tail_bytes_;
  int window_;
  std::byte* region_;
  int committed_;
};

// Lengths in latent frames: the first block takes the remainder, block + T mod block, or T where T < block.
inline std::vector<int> BlockLengths(int latent_frames, int block) {
  if (block == 0 || latent_frames < block) return {latent_frames};
  std::vector<int> lengths = {block + latent_frames % block};
  while (lengths[0] + static_cast<int>(lengths.size() - 1) * block < latent_frames) lengths.push_back(block);
  return lengths;
}

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_SANA_CAUSAL_STATE_H_
