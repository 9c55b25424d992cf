// What decoder and encoder of the Wan VAE are made of. Each layer takes one channels-last frame at a time; what a
// convolution over time needs of the frames before stands in the session's rings (wan_plan.h).
#ifndef LONGTAKE_ENGINE_MODELS_WAN_LAYERS_H_
#define LONGTAKE_ENGINE_MODELS_WAN_LAYERS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/models/wan_loader.h"
#include "engine/models/wan_plan.h"
#include "engine/ops/ops.h"

namespace longtake {

// Where one call works. `caches` may be null where nothing comes after this frame.
struct WanContext {
  Ops* ops;
  const WanPlan* plan;
  std::byte* caches;
};

Mat FrameMat(const WanContext& ctx, void* frame, int stage, int64_t channels);

// A 3x3x3 convolution, causal in time.
struct WanConv {
  std::unique_ptr<PackedKernel> kernel;
  int ring = -1;
  int stage = 0;

  static WanConv Load(WanLoader& loader, const std::string& name, int stage, int64_t inputs, int64_t outputs);
  // Frame number `seen` of its stage; `residual`, if not null, is added and may be `out`. `in` goes into the ring.
  void Run(const WanContext& ctx, int64_t seen, const void* in, void* out, const void* residual = nullptr) const;
};

// A kernel over frames `before` ... `in` at the same place, (3,1,1); the ring holds the two before `in`.
void RunTemporal(const WanContext& ctx, const PackedKernel& kernel, int ring, int stage, int64_t seen, const void* in,
                 void* out);
// Keeps `in` as frame number `seen`.
void Remember(const WanContext& ctx, int ring, int64_t seen, const void* in);

// x = shortcut(x) + conv2(SiLU(norm2(conv1(SiLU(norm1(x)))))).
struct WanResidual {
  int64_t inputs = 0, outputs = 0;
  std::unique_ptr<Buffer> norm1, norm2;
  WanConv conv1, conv2;
  std::unique_ptr<PackedKernel> shortcut;  // null where the widths are the same

  static WanResidual Load(WanLoader& loader, const std::string& name, int stage, int64_t inputs, int64_t outputs);
  // In place in `x`, which holds max(inputs, outputs) channels, as do the scratch frames `n` and `y`.
  void Run(const WanContext& ctx, int64_t seen, void* x, void* n, void* y) const;
};

// Residual block, one-head attention over the frame's own pixels, residual block.
struct WanMiddle {
  int64_t width = 0;
  int stage = 0;
  WanResidual before, after;
  std::unique_ptr<Buffer> norm;
  std::unique_ptr<PackedKernel> qkv, project;

  static WanMiddle Load(WanLoader& loader, const std::string& name, int stage, int64_t width);
  // `work` holds kWorkFrames frames of `width` channels.
  static constexpr int kWorkFrames = 4;  // q, k, v and the attention's input, later its output
  void Run(const WanContext& ctx, int64_t seen, void* x, void* work) const;
};

// SiLU(norm(x)), convolution.
struct WanHead {
  std::unique_ptr<Buffer> norm;
  WanConv conv;

  static WanHead Load(WanLoader& loader, const std::string& name, int stage, int64_t inputs, int64_t outputs);
  // `x` is overwritten.
  void Run(const WanContext& ctx, int64_t seen, void* x, void* out) const;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_WAN_LAYERS_H_
