#include <array>
#include <cmath>
#include <utility>

#include "engine/models/sana/flow_schedule.h"
#include "engine/models/sana/samplers.h"

namespace longtake {
namespace {

// DPM-Solver++ of second order, midpoint.
class FlowDpmSampler : public Sampler {
 public:
  using Sampler::Sampler;

  int buffers() const override { return 2; }  // this step's prediction of x0 and the previous one, alternating

  void Step(Ops& ops, const SamplerStep& s) const override {
    const double level = sigma(s.step), next = sigma(s.step + 1);
    float* x0 = s.buffers[s.step % 2];
    const float* x0_before = s.buffers[(s.step + 1) % 2];
    ops.sampler().Combine(std::array<CombineTerm, 2>{{{1.f, s.x}, {static_cast<float>(-level), s.velocity}}}, s.n, x0);
    if (next == 0.0) {  // the limit of the first-order update: h is infinite
      ops.sampler().Combine(std::array<CombineTerm, 1>{{{1.f, x0}}}, s.n, s.x);
      return;
    }
    const double h = LogSnr(next) - LogSnr(level);
    const double pull = -(1.0 - next) * std::expm1(-h);  // weight of the data prediction
    const auto keep = static_cast<float>(next / level);
    if (s.step == 0) {
      ops.sampler().Combine(std::array<CombineTerm, 2>{{{keep, s.x}, {static_cast<float>(pull), x0}}}, s.n, s.x);
      return;
    }
    // Second order: D0 + D1/2 with D1 = (x0 - x0_before)/r, r = h_before/h.
    const double r = (LogSnr(level) - LogSnr(sigma(s.step - 1))) / h;
    ops.sampler().Combine(std::array<CombineTerm, 3>{{{keep, s.x},
                                                      {static_cast<float>(pull * (1.0 + 0.5 / r)), x0},
                                                      {static_cast<float>(-pull * 0.5 / r), x0_before}}},
                          s.n, s.x);
  }
};

}  // namespace

std::unique_ptr<Sampler> MakeFlowDpmSampler(int steps, double shift) {
  std::vector<double> sigmas;
  std::vector<float> timesteps;
  // u = 1 - linspace(1, 0.001, steps + 1), in reverse order and without its smallest value.
  for (int i = steps; i >= 1; --i) {
    sigmas.push_back(ShiftedLevel(1.0 - (1.0 + (0.001 - 1.0) * i / steps), shift));
    timesteps.push_back(static_cast<float>(std::trunc(1000.0 * sigmas.back())));
  }
  sigmas.push_back(0.0);
  return std::make_unique<FlowDpmSampler>(std::move(timesteps), std::move(sigmas));
}

}  // namespace longtake
