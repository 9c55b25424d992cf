#include "scheduler/cost_model.h"

#include <algorithm>
#include <cmath>

namespace longtake::scheduler {
namespace {

// An observation's weight halves in 139 batches: a few seconds on the bundled model, half a minute on a large one.
constexpr double kForget = 0.995;
// Forgetting without news lets the spread grow without bound, and the next batch of a new kind would throw the weights
// about. It stops at the spread of the beginning.
constexpr double kErrorStep = 0.02;

void Mean(double& mean, int count, double value) { mean += (value - mean) * std::max(kErrorStep, 1.0 / count); }

}  // namespace

CostModel::Vector CostModel::Scaled(const Work& work) const {
  Vector x = {};
  x[kFixed] = 1;
  for (int i = 0; i < Work::kKinds; ++i) {
    if (scale_[i] > 0) x[i] = work.amount(static_cast<PassKind>(i)) / scale_[i];
  }
  return x;
}

double CostModel::Predict(const Work& work) const {
  const Vector x = Scaled(work);
  double seconds = 0;
  for (int i = 0; i < kWeights; ++i) seconds += weights_[i] * x[i];
  return seconds;
}

double CostModel::Marginal(PassKind kind, double tokens) const {
  const int i = Work::Index(kind);
  if (scale_[i] == 0) return 0;
  return weights_[i] * (kind == PassKind::kEncodePrompt ? 1 : tokens) / scale_[i];
}

bool CostModel::learned() const {
  return seen_[Work::Index(PassKind::kDenoise)] > 0 && seen_[Work::Index(PassKind::kCommit)] > 0 &&
         seen_[Work::Index(PassKind::kDecode)] > 0;
}

void CostModel::Observe(const Work& work, double seconds) {
  if (!(seconds > 0) || !std::isfinite(seconds)) return;  // a clock that stood still teaches nothing
  const double predicted = Predict(work);
  bool news = observations_ == 0;
  // Ten times the first batch is wide enough to be forgotten after one more observation of a kind.
  const double wide = 100 * seconds * seconds;
  if (news) {
    // Before batches of several passes tell them apart, time counts as the passes' own: admission then errs on the safe
    // side.
    spread_[kFixed][kFixed] = wide / 100;
    widest_ = wide / 100;
  }
  for (int i = 0; i < Work::kKinds; ++i) {
    const double amount = work.amount(static_cast<PassKind>(i));
    if (amount <= 0) continue;
    if (scale_[i] == 0) {
      news = true;
      scale_[i] = amount;
      spread_[i][i] = wide;
      widest_ += wide;
    }
  }
  ++observations_;
  const double error = std::abs(predicted - seconds) / seconds;
  if (!news) Mean(error_, observations_, error);
  for (int i = 0; i < Work::kKinds; ++i) {
    if (work.amount(static_cast<PassKind>(i)) <= 0) continue;
    ++seen_[i];
    if (!news) Mean(kind_error_[i], seen_[i], error);
  }

  // One step on x / seconds -> 1, whose noise is taken as 5 %.
  Vector x = Scaled(work);
  for (double& value : x) value /= seconds;
  Vector gain = {};
  double denominator = kForget * 0.0025;
  for (int i = 0; i < kWeights; ++i) {
    for (int j = 0; j < kWeights; ++j) gain[i] += spread_[i][j] * x[j];
    denominator += gain[i] * x[i];
  }
  double residual = 1;
  for (int i = 0; i < kWeights; ++i) residual -= weights_[i] * x[i];
  double trace = 0;
  for (int i = 0; i < kWeights; ++i) {
    weights_[i] = std::max(0.0, weights_[i] + gain[i] / denominator * residual);
    for (int j = 0; j <= i; ++j) spread_[j][i] = spread_[i][j] -= gain[i] * gain[j] / denominator;
    trace += spread_[i][i];
  }
  if (trace / kForget > widest_) return;
  for (Vector& row : spread_) {
    for (double& value : row) value /= kForget;
  }
}

}  // namespace longtake::scheduler
