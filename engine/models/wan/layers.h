// The layers of the Wan VAE's decoder and encoder. Each takes one channels-last frame at a time. The earlier frames
// that a convolution over time reads are in the stream's rings (video/vae_plan.h).
#ifndef LONGTAKE_ENGINE_MODELS_WAN_LAYERS_H_
#define LONGTAKE_ENGINE_MODELS_WAN_LAYERS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/models/wan/loader.h"
#include "engine/models/wan/plan.h"
#include "engine/ops/ops.h"

namespace longtake {

// A 3x3x3 convolution, causal in time.
struct WanConv {
  std::unique_ptr<PackedKernel> kernel;
  int ring = -1;
  int stage = 0;

  static WanConv Load(WanLoader& loader, const std::string& name, int stage, int64_t inputs, int64_t outputs);
  // Where its input, frame number `seen` of its stage, is to be written (act): in the ring, or in `n` without caches.
  Mat Input(const VaeContext& ctx, int64_t seen, std::byte* n) const;
  // Reads `in`, which is Input(), and the two frames before it, and writes `out` (f32), or adds to it with `residual`.
  void Run(const VaeContext& ctx, int64_t seen, ConstMat in, Mat out, bool residual = false) const;
};

// Applies a (3,1,1) kernel to `in` (act), frame t of the ring, and the two frames before it, of which there are
// `before`; `out` is act or f32.
void RunTemporal(const VaeContext& ctx, const PackedKernel& kernel, int ring, int stage, int64_t t, int64_t before,
                 ConstMat in, Mat out);

// x = shortcut(x) + conv2(SiLU(norm2(conv1(SiLU(norm1(x)))))).
struct WanResidual {
  int64_t inputs = 0, outputs = 0;
  std::unique_ptr<Buffer> norm1, norm2;
  WanConv conv1, conv2;
  std::unique_ptr<PackedKernel> shortcut;  // null if the widths are the same

  static WanResidual Load(WanLoader& loader, const std::string& name, int stage, int64_t inputs, int64_t outputs);
  // Works in place in `x`. All frames hold max(inputs, outputs) channels: `x` and the scratch frame `y` in f32, `n`,
  // which is used without caches, in act.
  void Run(const VaeContext& ctx, int64_t seen, std::byte* x, std::byte* n, std::byte* y) const;
};

// A residual block, one-head attention over the frame's own pixels, and a residual block.
struct WanMiddle {
  int64_t width = 0;
  int stage = 0;
  WanResidual before, after;
  std::unique_ptr<Buffer> norm;
  std::unique_ptr<PackedKernel> qkv, project;

  static WanMiddle Load(WanLoader& loader, const std::string& name, int stage, int64_t width);
  // Works in place in `x`, f32. `work` holds kWorkFrames act frames of `width` channels: the attention's input and
  // output, then q, k and v; the residual blocks' y uses the memory of the last three.
  static constexpr int kWorkFrames = 4;
  void Run(const VaeContext& ctx, int64_t seen, std::byte* x, std::byte* work) const;
};

// Convolution of SiLU(norm(x)).
struct WanHead {
  std::unique_ptr<Buffer> norm;
  WanConv conv;

  static WanHead Load(WanLoader& loader, const std::string& name, int stage, int64_t inputs, int64_t outputs);
  // Reads `x` (f32), uses `n` (act) without caches, writes `out` (f32).
  void Run(const VaeContext& ctx, int64_t seen, std::byte* x, std::byte* n, Mat out) const;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_WAN_LAYERS_H_
