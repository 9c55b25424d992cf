#include "engine/models/sana/samplers.h"

#include <array>
#include <cmath>

namespace longtake {

void Guide(Ops& ops, double weight, const float* v_negative, int64_t n, float* v) {
  ops.sampler().Combine(
      std::array<CombineTerm, 2>{{{static_cast<float>(1.0 - weight), v_negative}, {static_cast<float>(weight), v}}}, n,
      v);
}

FewStepSampler::FewStepSampler(const std::vector<double>& timesteps, double shift) {
  for (const double t : timesteps) {
    double nearest = 1.0;
    for (int i = 0; i < 1000; ++i) {
      const double u = 1.0 - i / 1000.0;
      const double level = shift * u / (1.0 + (shift - 1.0) * u);
      if (std::abs(level - t / 1000.0) < std::abs(nearest - t / 1000.0)) nearest = level;
    }
    timesteps_.push_back(static_cast<float>(t));
    sigmas_.push_back(nearest);
  }
}

void FewStepSampler::Step(Ops& ops, int step, const float* velocity, const float* noise, int64_t n, float* x) const {
  const double sigma = sigmas_[step];
  if (!needs_noise(step)) {
    ops.sampler().Combine(std::array<CombineTerm, 2>{{{1.f, x}, {static_cast<float>(-sigma), velocity}}}, n, x);
    return;
  }
  const double next = sigmas_[step + 1];
  ops.sampler().Combine(std::array<CombineTerm, 3>{{{static_cast<float>(1 - next), x},
                                                    {static_cast<float>(-(1 - next) * sigma), velocity},
                                                    {static_cast<float>(next), noise}}},
                        n, x);
}

FlowDpmSampler::FlowDpmSampler(int steps, double shift) {
  // u = 1 - linspace(1, 0.001, steps + 1), flipped, the smallest dropped.
  for (int i = steps; i >= 1; --i) {
    const double u = 1.0 - (1.0 + (0.001 - 1.0) * i / steps);
    sigmas_.push_back(shift * u / (1.0 + (shift - 1.0) * u));
  }
  sigmas_.push_back(0.0);
}

float FlowDpmSampler::timestep(int step) const { return static_cast<float>(std::trunc(1000.0 * sigmas_[step])); }

void FlowDpmSampler::Step(Ops& ops, int step, const float* velocity, int64_t n, float* x, float* x0,
                          const float* x0_before) const {
  const double sigma = sigmas_[step], next = sigmas_[step + 1];
  ops.sampler().Combine(std::array<CombineTerm, 2>{{{1.f, x}, {static_cast<float>(-sigma), velocity}}}, n, x0);
  if (next == 0.0) {  // the limit of the first-order update: h is infinite
    ops.sampler().Combine(std::array<CombineTerm, 1>{{{1.f, x0}}}, n, x);
    return;
  }
  const auto lambda = [](double s) { return std::log(1.0 - s) - std::log(s); };
  const double h = lambda(next) - lambda(sigma);
  const double pull = -(1.0 - next) * std::expm1(-h);  // weight of the data prediction
  if (step == 0) {
    ops.sampler().Combine(
        std::array<CombineTerm, 2>{{{static_cast<float>(next / sigma), x}, {static_cast<float>(pull), x0}}}, n, x);
    return;
  }
  // Second order: D0 + D1/2 with D1 = (x0 - x0_before)/r, r = h_before/h.
  const double r = (lambda(sigma) - lambda(sigmas_[step - 1])) / h;
  ops.sampler().Combine(std::array<CombineTerm, 3>{{{static_cast<float>(next / sigma), x},
                                                    {static_cast<float>(pull * (1.0 + 0.5 / r)), x0},
                                                    {static_cast<float>(-pull * 0.5 / r), x0_before}}},
                        n, x);
}

}  // namespace longtake
