// From velocities to latents: the few-step sampler with fresh noise, and flow DPM-Solver++ 2M. Specification sections
// 4, 5.
//
// A schedule is computed once, on the host, in double; a step is one linear combination on the device, in float32.
#ifndef LONGTAKE_ENGINE_MODELS_SANA_SAMPLERS_H_
#define LONGTAKE_ENGINE_MODELS_SANA_SAMPLERS_H_

#include <cstdint>
#include <vector>

#include "engine/ops/ops.h"

namespace longtake {

// Guidance: v = v_negative + weight * (v - v_negative), f32 [n], in place.
void Guide(Ops& ops, double weight, const float* v_negative, int64_t n, float* v);

// Few steps: x0 = x - sigma_i v; unless last, x = (1 - sigma_{i+1}) x0 + sigma_{i+1} noise.
class FewStepSampler {
 public:
  // `timesteps` in (0, 1000], descending. Each level is the one nearest to t/1000 on s*u/(1 + (s-1)u), u = 1, 0.999,
  // ...
  FewStepSampler(const std::vector<double>& timesteps, double shift);

  int steps() const { return static_cast<int>(timesteps_.size()); }
  float timestep(int step) const { return timesteps_[step]; }
  double sigma(int step) const { return sigmas_[step]; }
  bool needs_noise(int step) const { return step + 1 < steps(); }

  // x, velocity and noise f32 [n]; x is replaced. `noise` is not read at the last step.
  void Step(Ops& ops, int step, const float* velocity, const float* noise, int64_t n, float* x) const;

 private:
  std::vector<float> timesteps_;
  std::vector<double> sigmas_;
};

// DPM-Solver++ 2M, midpoint, flow prediction (diffusers: scheduling_dpmsolver_multistep.py, use_flow_sigmas).
class FlowDpmSampler {
 public:
  FlowDpmSampler(int steps, double shift);

  int steps() const { return static_cast<int>(sigmas_.size()) - 1; }
  float timestep(int step) const;  // trunc(1000 sigma): what the network is given
  double sigma(int step) const { return sigmas_[step]; }

  // x f32 [n] is replaced. x0 and x0_before f32 [n]: this step's prediction is written to x0; x0_before is the step's
  // before (not read at the first and last step). Swap them between steps.
  void Step(Ops& ops, int step, const float* velocity, int64_t n, float* x, float* x0, const float* x0_before) const;

 private:
  std::vector<double> sigmas_;  // steps + 1, the last 0
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_SANA_SAMPLERS_H_
