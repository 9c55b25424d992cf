// How long a batch takes, learned from those that ran.
#ifndef LONGTAKE_SCHEDULER_COST_MODEL_H_
#define LONGTAKE_SCHEDULER_COST_MODEL_H_

#include <array>

#include "scheduler/device.h"

namespace longtake::scheduler {

// What a batch holds: passes of text, and tokens (Request::latent_tokens times latent frames) of the other kinds.
class Work {
 public:
  // `tokens` is not looked at for text, of which a pass counts one.
  void Add(PassKind kind, double tokens) { amount_[Index(kind)] += kind == PassKind::kEncodePrompt ? 1 : tokens; }
  double amount(PassKind kind) const { return amount_[Index(kind)]; }

  static constexpr int kKinds = 4;
  static constexpr int Index(PassKind kind) { return static_cast<int>(kind); }

 private:
  std::array<double, kKinds> amount_ = {};
};

// seconds = fixed + sum over kinds of (seconds per unit x amount), all five not below 0, fitted by least squares
// on residuals in units of the prediction, so that a batch of one decode weighs as much as one of sixty denoising
// passes, and that the predictions of many batches together are what they took, however much single ones scatter.
// Deterministic.
class CostModel {
 public:
  // 0 before the first observation.
  double Predict(const Work& work) const;
  // A batch of so many fixed times has 5 % left to gain from more company: policies make none longer for its sake.
  static constexpr double kLongestInFixed = 20;

  // What a pass adds to a batch that runs anyway, what it takes alone, and its part of a batch of `company` like it, or
  // of as many as go into one.
  double Marginal(PassKind kind, double tokens) const;
  double Alone(PassKind kind, double tokens) const { return InCompany(kind, tokens, 1); }
  double InCompany(PassKind kind, double tokens, int company) const;
  double fixed() const { return weights_[kFixed]; }

  void Observe(const Work& work, double seconds);

  // A session's whole cycle has been seen: a denoising pass, a commit and a decode.
  bool learned() const;
  int observations() const { return observations_; }
  // Moving means over about fifty batches of |predicted - actual| / actual, each predicted before it was learned from:
  // of all batches, and of those that held the kind. 0 before there are any.
  double error() const { return error_; }
  double error(PassKind kind) const { return kind_error_[Work::Index(kind)]; }

 private:
  static constexpr int kFixed = Work::kKinds, kWeights = Work::kKinds + 1;
  using Vector = std::array<double, kWeights>;

  Vector Scaled(const Work& work) const;

  int observations_ = 0;
  Vector scale_ = {};    // of a kind: the amount first seen, 0: none yet; weights are seconds for that amount
  Vector weights_ = {};  // seconds
  // Of the batches so far, the older the less: sums of x x^T and of x y, where x is a batch's amounts and y its
  // seconds, both over the seconds predicted.
  std::array<Vector, kWeights> squares_ = {};
  Vector sums_ = {};
  Vector stay_ = {};  // how much the old weight counts; 0: the kind was not seen
  double error_ = 0;
  std::array<double, Work::kKinds> kind_error_ = {};
  std::array<int, Work::kKinds> seen_ = {};
};

}  // namespace longtake::scheduler

#endif  // LONGTAKE_SCHEDULER_COST_MODEL_H_
