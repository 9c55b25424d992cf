#include "scheduler/cost_model.h"

#include <algorithm>
#include <cmath>

#include "scheduler/tuning.h"

namespace longtake::scheduler {
namespace {

// An observation's weight halves in 139 batches: a few seconds on the bundled model, half a minute on a large one.
constexpr double kForget = 0.995;
constexpr double kErrorStep = 0.02;
// Weights stay where they were unless batches say otherwise: the old weight counts as this part of one batch. So a kind
// that is not seen for hours keeps its weight.
constexpr double kStay = 0.001;
// Before batches of several passes tell them apart, time counts as the passes' own: admission then errs on the safe
// side.
constexpr double kStayFixed = 0.1;
// A prediction that is off by more is no measure of a batch's weight.
constexpr double kFarOff = 4;
// Rounds of the search a batch. It begins where the last one ended, so that a few are enough.
constexpr int kRounds = 20;

void Mean(double& mean, uint64_t count, double value) {
  mean += (value - mean) * std::max(kErrorStep, 1.0 / static_cast<double>(count));
}

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

double CostModel::InCompany(PassKind kind, double tokens, int company) const {
  const double marginal = Marginal(kind, tokens);
  const double most = std::floor((tuning::kLongestInFixed - 1) * fixed() / std::max(marginal, 1e-12));
  return marginal + fixed() / std::max(1.0, std::min<double>(company, most));
}

bool CostModel::learned(LaneRole role) const {
  return std::all_of(kPassKinds.begin(), kPassKinds.end(), [&](PassKind kind) {
    return kind == PassKind::kEncodePrompt || !Runs(role, kind) || seen_[Work::Index(kind)] > 0;
  });
}

void CostModel::Observe(const Work& work, double seconds) {
  if (!(seconds > 0) || !std::isfinite(seconds)) return;  // the clock stood still: there is nothing to learn
  const double predicted = Predict(work);
  bool news = observations_ == 0;
  if (news) stay_[kFixed] = kStayFixed / (seconds * seconds);
  for (int i = 0; i < Work::kKinds; ++i) {
    const double amount = work.amount(static_cast<PassKind>(i));
    if (amount <= 0 || scale_[i] > 0) continue;
    news = true;
    scale_[i] = amount;
    stay_[i] = kStay / (seconds * seconds);
  }
  ++observations_;
  const double error = std::abs(predicted - seconds) / seconds;
  if (!news) Mean(error_, observations_, error);
  for (int i = 0; i < Work::kKinds; ++i) {
    if (work.amount(static_cast<PassKind>(i)) <= 0) continue;
    ++seen_[i];
    if (!news) Mean(kind_error_[i], seen_[i], error);
  }

  // Least squares of x / unit -> seconds / unit and of the old weights, by one weight after the other, each cut off
  // at 0. The sums cannot lose their definiteness, as a recursive inverse does, and what is cut off is made up for by
  // the others: the weights are always the best that are not below 0. The unit is what was predicted, not what it took:
  // divided by that, batches that take long by chance weigh least, and on a machine where encoders share the cores with
  // the passes the model came to 0.6 of the mean (measured).
  const double unit = news ? seconds : std::clamp(predicted, seconds / kFarOff, seconds * kFarOff);
  Vector x = Scaled(work);
  for (double& value : x) value /= unit;
  for (int i = 0; i < kWeights; ++i) {
    for (int j = 0; j < kWeights; ++j) squares_[i][j] = kForget * squares_[i][j] + x[i] * x[j];
    sums_[i] = kForget * sums_[i] + x[i] * seconds / unit;
  }
  const Vector before = weights_;
  for (int round = 0; round < kRounds; ++round) {
    for (int i = 0; i < kWeights; ++i) {
      if (stay_[i] == 0) continue;  // not seen yet
      double wanted = sums_[i] + stay_[i] * before[i];
      for (int j = 0; j < kWeights; ++j) {
        if (j != i) wanted -= squares_[i][j] * weights_[j];
      }
      weights_[i] = std::max(0.0, wanted / (squares_[i][i] + stay_[i]));
    }
  }
}

}  // namespace longtake::scheduler
