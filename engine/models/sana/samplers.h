// From velocities to latents: the samplers of the SANA-Video family. Specification sections 4 and 5.
//
// A schedule is computed once, on the host, in double; a step is one or two linear combinations on the device, in
// float32.
#ifndef LONGTAKE_ENGINE_MODELS_SANA_SAMPLERS_H_
#define LONGTAKE_ENGINE_MODELS_SANA_SAMPLERS_H_

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "engine/models/folder/settings.h"
#include "engine/ops/ops.h"

namespace longtake {

// Guidance: v = v_negative + weight * (v - v_negative), f32 [n], in place.
void Guide(Ops& ops, double weight, const float* v_negative, int64_t n, float* v);

// Operands of one step, f32 [n] each.
struct SamplerStep {
  int step = 0;
  int64_t n = 0;
  const float* velocity = nullptr;
  float* x = nullptr;               // the latents; replaced by the next step's
  std::span<float* const> buffers;  // Sampler::buffers() of them, the same ones in each step of a block
};

// Immutable; one serves any number of sessions.
class Sampler {
 public:
  static constexpr int kMaxBuffers = 5;  // of UniPC of order 3

  // `sigmas`: one a step, and the last one, 0.
  Sampler(std::vector<float> timesteps, std::vector<double> sigmas)
      : timesteps_(std::move(timesteps)), sigmas_(std::move(sigmas)) {}
  virtual ~Sampler() = default;

  int steps() const { return static_cast<int>(timesteps_.size()); }
  // What the network is given.
  float timestep(int step) const { return timesteps_[step]; }
  // Noise level before the step; 0 after the last one.
  double sigma(int step) const { return sigmas_[step]; }

  // How many buffers the steps of a block work in. Their content before step 0 is not read, with one exception:
  // where needs_noise(step), the caller fills buffer 0 with fresh noise before the step.
  virtual int buffers() const { return 0; }
  virtual bool needs_noise(int /*step*/) const { return false; }
  virtual void Step(Ops& ops, const SamplerStep& s) const = 0;

 private:
  std::vector<float> timesteps_;
  std::vector<double> sigmas_;
};

// x0 = x - sigma v; unless last, x = (1 - sigma') x0 + sigma' noise, with sigma' the next level. `timesteps` in
// (0, 1000], descending; each level is the one nearest to t/1000 on s*u/(1 + (s-1)u), u = 1, 0.999, ... (NVlabs:
// longlive_flow_euler_sampler.py).
std::unique_ptr<Sampler> MakeFewStepSampler(const std::vector<double>& timesteps, double shift);
// DPM-Solver++ of second order, midpoint (diffusers: scheduling_dpmsolver_multistep.py, use_flow_sigmas).
std::unique_ptr<Sampler> MakeFlowDpmSampler(int steps, double shift);
// x += (sigma' - sigma) v, with levels that are shifted twice (diffusers: scheduling_flow_match_euler_discrete.py).
std::unique_ptr<Sampler> MakeFlowEulerSampler(int steps, double shift);
// Predictor and corrector of order 1 to 3 (diffusers: scheduling_unipc_multistep.py, use_flow_sigmas, predict_x0).
std::unique_ptr<Sampler> MakeFlowUniPcSampler(int steps, double shift, const UniPcSettings& options);

// The folder's sampler, then those of its step ladder.
std::vector<std::unique_ptr<Sampler>> MakeSamplers(const ModelSettings& settings);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_SANA_SAMPLERS_H_
