// The history that a session's transformer passes read. Its size does not depend on the video's length. Specification
// section 4.
//
// There are two forms. With window_blocks = 0 it is the running sum of the S and z of all committed blocks. With
// window_blocks = k it is a ring of the last k blocks' contributions. Both have one slot more than they read. A commit
// writes the spare slot and then counts up; taking a block back only counts down. A commit therefore never overwrites
// what the next pass reads, nor what is read after a block has been taken back. The temporal convolution's last frame
// (the tail) is kept twice for the same reason.
#ifndef LONGTAKE_ENGINE_MODELS_SANA_CAUSAL_STATE_H_
#define LONGTAKE_ENGINE_MODELS_SANA_CAUSAL_STATE_H_

#include <cstddef>
#include <cstdint>

#include "engine/models/sana/transformer.h"

namespace longtake {

class CausalState {
 public:
  // `height` and `width` are those of the latents. `region` has Bytes(). With `committed` = 0 its content does not
  // matter; else it is a copy of the region of a state with so many committed blocks.
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

  // Sets the history that the block after the committed ones reads.
  void Read(TransformerPass* pass) const {
    pass->history.clear();
    const int first = window_ == 0 ? committed_ - 1 : committed_ - window_;
    for (int block = first < 0 ? 0 : first; block < committed_; ++block) pass->history.push_back(Slot(block));
    pass->tail = committed_ == 0 ? nullptr : Tail(committed_ - 1);
  }
  // Sets the same, and where the commit pass of that block writes. Call Committed() once the pass is done.
  void Write(TransformerPass* pass) const {
    Read(pass);
    pass->contribution_out = Slot(committed_);
    pass->store_sum = window_ == 0;
    pass->tail_out = Tail(committed_);
  }
  void Committed() { ++committed_; }
  // Undoes the last Committed(). At most once before the next commit, because older slots have been overwritten.
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

// Returns block lengths in latent frames. The first block takes the remainder: block + T mod block frames, or T if T <
// block.
inline std::vector<int> BlockLengths(int latent_frames, int block) {
  if (block == 0 || latent_frames < block) return {latent_frames};
  std::vector<int> lengths = {block + latent_frames % block};
  while (lengths[0] + static_cast<int>(lengths.size() - 1) * block < latent_frames) lengths.push_back(block);
  return lengths;
}

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_SANA_CAUSAL_STATE_H_
