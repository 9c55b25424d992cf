// The layers of the LTX-2 VAE. Each takes one channels-last frame at a time, and gives one at once (causal) or when it
// has taken the next one (looking ahead). Earlier frames are in the stream's caches (video/vae_plan.h).
#ifndef LONGTAKE_ENGINE_MODELS_LTX2_LAYERS_H_
#define LONGTAKE_ENGINE_MODELS_LTX2_LAYERS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "engine/models/ltx2/loader.h"
#include "engine/models/ltx2/plan.h"
#include "engine/ops/ops.h"

namespace longtake {

// What one call has beside its plan and memory.
struct Ltx2Context : VaeContext {
  Border border;
  bool causal;
  int64_t* seen;  // frames that each convolution has taken; the layers count them up
};

// y = SiLU(x / sqrt(mean over channels of x^2 + 1e-8)).
void NormSilu(const Ltx2Context& ctx, ConstMat x, Mat y);

// A 3x3x3 convolution. Before a clip's first frame stands the first frame itself, and after its last one, for one that
// looks ahead, the last.
struct Ltx2Conv {
  static constexpr int64_t kNone = -1;

  std::unique_ptr<PackedKernel> kernel;
  int64_t inputs = 0, outputs = 0;
  int number = 0;  // among the half's convolutions
  int ring = -1;
  int stage = 0;

  // `used`: how many of the outputs are computed; 0: all.
  static Ltx2Conv Load(Ltx2Loader& loader, const std::string& name, int stage, int64_t inputs, int64_t outputs,
                       int64_t used = 0);
  // Where the frame that it takes next is to be written (act): in the ring, or in `spare` without caches.
  Mat Input(const Ltx2Context& ctx, std::byte* spare) const;
  // Takes `in`, which is Input(). Returns the number of the frame that it writes to `out` (f32), plus `residual` if
  // that has data; kNone if it writes none.
  int64_t Push(const Ltx2Context& ctx, ConstMat in, Mat out, ConstMat residual = {}) const;
  // Gives the clip's last frame, of a convolution that looks ahead and has taken at least one.
  int64_t Finish(const Ltx2Context& ctx, Mat out, ConstMat residual = {}) const;
  int64_t seen(const Ltx2Context& ctx) const { return ctx.seen[number]; }

 private:
  void Run(const Ltx2Context& ctx, int64_t taken, ConstMat next, Mat out, ConstMat residual) const;
};

// The frames of one stage in scratch.
struct Ltx2Frames {
  std::byte* x;      // f32: the frame that runs through the stage
  std::byte* spare;  // f32
  std::byte* act;    // the input of a convolution, without caches
};

// x += conv2(SiLU(norm(conv1(SiLU(norm(x)))))). Looking ahead, it gives frame t when it takes t + 2, so two frames of x
// wait in the caches.
struct Ltx2Block {
  Ltx2Conv conv1, conv2;
  int waiting = -1;
  int64_t width = 0;

  static Ltx2Block Load(Ltx2Loader& loader, const std::string& name, int stage, int64_t width, bool causal);
  // Takes frames->x. Returns whether it gives a frame, which then is frames->x; x and spare may change places.
  bool Push(const Ltx2Context& ctx, Ltx2Frames* frames) const;
  // Finishes conv1, or after that conv2; returns whether a frame comes out.
  bool FinishFirst(const Ltx2Context& ctx, Ltx2Frames* frames) const;
  bool FinishSecond(const Ltx2Context& ctx, Ltx2Frames* frames) const;

 private:
  // Puts frames->spare, which conv1 gave, through the rest.
  bool Second(const Ltx2Context& ctx, Ltx2Frames* frames) const;
  // The frame of x that is added to the next frame of conv2.
  ConstMat Waiting(const Ltx2Context& ctx) const;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_LTX2_LAYERS_H_
