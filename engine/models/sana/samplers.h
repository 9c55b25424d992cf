// The samplers of the SANA-Video family: from velocities to latents. Specification sections 4 and 5.
//
// A schedule is computed once, on the host, in double. A step is one or two linear combinations on the device, in
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
  float* x = nullptr;               // the latents; replaced by those of the next step
  std::span<float* const> buffers;  // Sampler::buffers() of them, the same in every step of a block
};

// Immutable; shared by any number of sessions.
class Sampler {
 public:
  static constexpr int kMaxBuffers = 5;  // UniPC of order 3

  // `sigmas`: one for each step, and a final 0.
  Sampler(std::vector<float> timesteps, std::vector<double> sigmas)
      : timesteps_(std::move(timesteps)), sigmas_(std::move(sigmas)) {}
  virtual ~Sampler() = default;

  int steps() const { return static_cast<int>(timesteps_.size()); }
  // The timestep that the network receives.
  float timestep(int step) const { return timesteps_[step]; }
  // Noise level before the step; 0 after the last step.
  double sigma(int step) const { return sigmas_[step]; }

  // The number of buffers that the steps of a block work in. Their content before step 0 is not read. If
  // needs_noise(step), the caller fills buffer 0 with new noise before that step.
  virtual int buffers() const { return 0; }
  virtual bool needs_noise(int /*step*/) const { return false; }
  virtual void Step(Ops& ops, const SamplerStep& s) const = 0;

 private:
  std::vector<float> timesteps_;
  std::vector<double> sigmas_;
};

// x0 = x - sigma v; unless it is the last step, x = (1 - sigma') x0 + sigma' noise, with sigma' the next level.
// `timesteps` descend in (0, 1000]. The level of timestep t is the value of s*u/(1 + (s-1)u), u = 1, 0.999, ..., with s
// the shift, that is nearest to t/1000 (NVlabs: longlive_flow_euler_sampler.py).
std::unique_ptr<Sampler> MakeFewStepSampler(const std::vector<double>& timesteps, double shift);
// The same step at these levels, as they are. The network receives whole timesteps, 1000 sigma cut.
std::unique_ptr<Sampler> MakeFlowLcmSampler(std::vector<double> sigmas);
// DPM-Solver++ of second order, midpoint (diffusers: scheduling_dpmsolver_multistep.py, use_flow_sigmas).
std::unique_ptr<Sampler> MakeFlowDpmSampler(int steps, double shift);
// x += (sigma' - sigma) v. Levels are shifted twice (diffusers: scheduling_flow_match_euler_discrete.py).
std::unique_ptr<Sampler> MakeFlowEulerSampler(int steps, double shift);
// Predictor and corrector of order 1 to 3 (diffusers: scheduling_unipc_multistep.py, use_flow_sigmas, predict_x0).
std::unique_ptr<Sampler> MakeFlowUniPcSampler(int steps, double shift, const UniPcSettings& options);

// Returns the folder's sampler, then those of its step ladder.
std::vector<std::unique_ptr<Sampler>> MakeSamplers(const ModelSettings& settings);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_SANA_SAMPLERS_H_
