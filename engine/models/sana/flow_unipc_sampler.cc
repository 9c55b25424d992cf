#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <utility>

#include "engine/models/sana/flow_schedule.h"
#include "engine/models/sana/samplers.h"

namespace longtake {
namespace {

constexpr int kMaxOrder = 3;
static_assert(kMaxOrder + 2 <= Sampler::kMaxBuffers);
using Vector = std::array<double, kMaxOrder>;

// Solves sum_j r_j^k w_j = b_k, k = 0 ... n - 1, by Gaussian elimination. The r_j are distinct, so a solution exists.
Vector SolveVandermonde(const Vector& r, const Vector& b, int n) {
  std::array<std::array<double, kMaxOrder + 1>, kMaxOrder> a = {};
  for (int k = 0; k < n; ++k) {
    for (int j = 0; j < n; ++j) a[k][j] = std::pow(r[j], k);
    a[k][n] = b[k];
  }
  for (int i = 0; i < n; ++i) {
    int pivot = i;
    for (int k = i + 1; k < n; ++k) {
      if (std::abs(a[k][i]) > std::abs(a[pivot][i])) pivot = k;
    }
    std::swap(a[i], a[pivot]);
    for (int k = 0; k < n; ++k) {
      if (k == i) continue;
      const double factor = a[k][i] / a[i][i];
      for (int j = i; j <= n; ++j) a[k][j] -= factor * a[i][j];
    }
  }
  Vector w = {};
  for (int k = 0; k < n; ++k) w[k] = a[k][n] / a[k][k];
  return w;
}

// Weights of an update from level `from` to the next one: for the latents at `from`, for the predictions of x0 at
// `from` and at earlier levels (ages 0, 1, 2), and for the prediction at the next level (corrector only).
struct Weights {
  double x = 0, next = 0;
  Vector age = {};
};

// Zhao et al. 2023, "UniPC", data prediction, B(h) = e^-h - 1 (variant bh2). The update is
// x' = sigma'/sigma x - alpha' B (m_0 + sum_j w_j D_j),  D_j = (m_j - m_0) / r_j
// where h is the distance in LogSnr, r_j = (lambda_j - lambda_0) / h is the position of the prediction m_j, and w
// solves sum_j r_j^(k-1) w_j = b_k. The corrector includes the prediction at the next level among the m_j, with r = 1.
Weights Update(const std::vector<double>& sigmas, int from, int order, bool corrector) {
  const double level = sigmas[from], next = sigmas[from + 1];
  if (next == 0.0) return {.age = {1.0}};  // the limit: h is infinite, and the order is 1
  const double h = LogSnr(next) - LogSnr(level), alpha = 1.0 - next;
  const double B = std::expm1(-h);
  Vector r = {}, b = {};
  for (int j = 1; j < order; ++j) r[j - 1] = (LogSnr(sigmas[from - j]) - LogSnr(level)) / h;
  r[order - 1] = 1.0;
  double phi_k = B / -h - 1.0, factorial = 1.0;
  for (int k = 1; k <= order; ++k) {
    b[k - 1] = phi_k * factorial / B;
    factorial *= k + 1;
    phi_k = phi_k / -h - 1.0 / factorial;
  }
  // The corrector of order 1 and the predictor of order 2 use the solver's simplified weight, 0.5.
  const int unknowns = corrector ? order : order - 1;
  const Vector w = unknowns == 1 ? Vector{0.5} : SolveVandermonde(r, b, unknowns);

  Weights out{.x = next / level};
  out.age[0] = -alpha * B;
  for (int j = 1; j < order; ++j) {
    const double weight = -alpha * B * w[j - 1] / r[j - 1];
    out.age[j] += weight;
    out.age[0] -= weight;
  }
  if (corrector) {
    out.next = -alpha * B * w[order - 1];
    out.age[0] -= out.next;
  }
  return out;
}

class FlowUniPcSampler : public Sampler {
 public:
  FlowUniPcSampler(std::vector<float> timesteps, const std::vector<double>& sigmas, const UniPcSettings& options)
      : Sampler(std::move(timesteps), sigmas), predictions_(options.order + 1) {
    int order_before = 0;
    for (int step = 0; step < steps(); ++step) {
      const auto& off = options.no_corrector_at;
      const bool corrects = step > 0 && std::find(off.begin(), off.end(), step - 1) == off.end();
      corrector_.emplace_back();
      if (corrects) corrector_.back() = Update(sigmas, step - 1, order_before, true);
      order_before = std::min({options.order, steps() - step, step + 1});
      predictor_.push_back(Update(sigmas, step, order_before, false));
    }
  }

  // A ring of predictions of x0, then the latents at the start of the previous step.
  int buffers() const override { return predictions_ + 1; }

  void Step(Ops& ops, const SamplerStep& s) const override {
    float* before = s.buffers[predictions_];
    float* x0 = Prediction(s, 0);
    ops.sampler().Combine(std::array<CombineTerm, 2>{{{1.f, s.x}, {static_cast<float>(-sigma(s.step)), s.velocity}}},
                          s.n, x0);
    // The corrector repeats the previous step from the same latents, now with this step's prediction included.
    if (corrector_[s.step].has_value()) {
      Apply(ops, s, *corrector_[s.step], before, /*newest=*/1, before);
    } else {
      ops.sampler().Combine(std::array<CombineTerm, 1>{{{1.f, s.x}}}, s.n, before);
    }
    Apply(ops, s, predictor_[s.step], before, /*newest=*/0, s.x);
  }

 private:
  float* Prediction(const SamplerStep& s, int age) const {
    return s.buffers[(s.step + predictions_ - age) % predictions_];
  }

  // out = the weighted sum. The prediction of age 0 in `w` is `newest` steps old.
  void Apply(Ops& ops, const SamplerStep& s, const Weights& w, const float* x, int newest, float* out) const {
    std::array<CombineTerm, kMaxOrder + 2> terms;
    size_t count = 0;
    const auto add = [&](double weight, const float* term) {
      if (weight != 0) terms[count++] = {static_cast<float>(weight), term};
    };
    add(w.x, x);
    for (int age = 0; age < kMaxOrder; ++age) add(w.age[age], Prediction(s, newest + age));
    add(w.next, Prediction(s, 0));
    ops.sampler().Combine({terms.data(), count}, s.n, out);
  }

  int predictions_;
  // For each step. The corrector does not run at the first step, nor after the steps that the options name.
  std::vector<std::optional<Weights>> corrector_;
  std::vector<Weights> predictor_;
};

}  // namespace

std::unique_ptr<Sampler> MakeFlowUniPcSampler(int steps, double shift, const UniPcSettings& options) {
  std::vector<double> sigmas;
  std::vector<float> timesteps;
  for (int i = 0; i < steps; ++i) {
    double sigma = ShiftedLevel(1.0 + (0.001 - 1.0) * i / steps, shift);
    if (i == 0 && std::abs(sigma - 1.0) < 1e-6) sigma -= 1e-6;  // its LogSnr would be infinite
    timesteps.push_back(static_cast<float>(std::trunc(1000.0 * sigma)));
    // Rounded to float32 as in diffusers: the first level is then 1 - 1.013e-6, and its LogSnr affects the second step.
    sigmas.push_back(static_cast<float>(sigma));
  }
  sigmas.push_back(0.0);
  return std::make_unique<FlowUniPcSampler>(std::move(timesteps), sigmas, options);
}

}  // namespace longtake
