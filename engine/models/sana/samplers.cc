#include "engine/models/sana/samplers.h"

#include <array>
#include <cmath>

#include "engine/models/sana/flow_schedule.h"

namespace longtake {
namespace {

// To the prediction of x0, and from there by new noise to the next level.
class RenoisingSampler : public Sampler {
 public:
  using Sampler::Sampler;

  int buffers() const override { return 1; }
  bool needs_noise(int step) const override { return step + 1 < steps(); }

  void Step(Ops& ops, const SamplerStep& s) const override {
    const double level = sigma(s.step), next = sigma(s.step + 1);
    if (!needs_noise(s.step)) {
      ops.sampler().Combine(std::array<CombineTerm, 2>{{{1.f, s.x}, {static_cast<float>(-level), s.velocity}}}, s.n,
                            s.x);
      return;
    }
    ops.sampler().Combine(std::array<CombineTerm, 3>{{{static_cast<float>(1 - next), s.x},
                                                      {static_cast<float>(-(1 - next) * level), s.velocity},
                                                      {static_cast<float>(next), s.buffers[0]}}},
                          s.n, s.x);
  }
};

class FlowEulerSampler : public Sampler {
 public:
  using Sampler::Sampler;

  void Step(Ops& ops, const SamplerStep& s) const override {
    const double step = sigma(s.step + 1) - sigma(s.step);
    ops.sampler().Combine(std::array<CombineTerm, 2>{{{1.f, s.x}, {static_cast<float>(step), s.velocity}}}, s.n, s.x);
  }
};

}  // namespace

void Guide(Ops& ops, double weight, const float* v_negative, int64_t n, float* v) {
  ops.sampler().Combine(
      std::array<CombineTerm, 2>{{{static_cast<float>(1.0 - weight), v_negative}, {static_cast<float>(weight), v}}}, n,
      v);
}

std::unique_ptr<Sampler> MakeFewStepSampler(const std::vector<double>& timesteps, double shift) {
  std::vector<double> sigmas;
  for (const double t : timesteps) {
    double nearest = 1.0;
    for (int i = 0; i < 1000; ++i) {
      const double level = ShiftedLevel(1.0 - i / 1000.0, shift);
      if (std::abs(level - t / 1000.0) < std::abs(nearest - t / 1000.0)) nearest = level;
    }
    sigmas.push_back(nearest);
  }
  sigmas.push_back(0.0);
  return std::make_unique<RenoisingSampler>(std::vector<float>(timesteps.begin(), timesteps.end()), std::move(sigmas));
}

std::unique_ptr<Sampler> MakeFlowLcmSampler(std::vector<double> sigmas) {
  std::vector<float> timesteps;
  for (const double sigma : sigmas) timesteps.push_back(static_cast<float>(std::trunc(1000.0 * sigma)));
  sigmas.push_back(0.0);
  return std::make_unique<RenoisingSampler>(std::move(timesteps), std::move(sigmas));
}

std::unique_ptr<Sampler> MakeFlowEulerSampler(int steps, double shift) {
  const double smallest = ShiftedLevel(0.001, shift);
  std::vector<double> sigmas;
  std::vector<float> timesteps;
  for (int i = 0; i < steps; ++i) {
    const double line = steps == 1 ? 1.0 : 1.0 + (smallest - 1.0) * i / (steps - 1);
    sigmas.push_back(ShiftedLevel(line, shift));
    timesteps.push_back(static_cast<float>(1000.0 * sigmas.back()));
  }
  sigmas.push_back(0.0);
  return std::make_unique<FlowEulerSampler>(std::move(timesteps), std::move(sigmas));
}

std::vector<std::unique_ptr<Sampler>> MakeSamplers(const ModelSettings& s) {
  std::vector<std::unique_ptr<Sampler>> samplers;
  switch (s.sampler) {
    case SamplerKind::kFewStep:
      samplers.push_back(MakeFewStepSampler(s.timesteps, s.shift));
      for (const std::vector<double>& fewer : s.step_ladder) samplers.push_back(MakeFewStepSampler(fewer, s.shift));
      break;
    case SamplerKind::kFlowDpmSolver:
      samplers.push_back(MakeFlowDpmSampler(s.steps, s.shift));
      break;
    case SamplerKind::kFlowEuler:
      samplers.push_back(MakeFlowEulerSampler(s.steps, s.shift));
      break;
    case SamplerKind::kFlowUniPc:
      samplers.push_back(MakeFlowUniPcSampler(s.steps, s.shift, s.unipc));
      break;
    case SamplerKind::kFlowLcm:
      samplers.push_back(MakeFlowLcmSampler(s.sigmas));
      break;
  }
  return samplers;
}

}  // namespace longtake
