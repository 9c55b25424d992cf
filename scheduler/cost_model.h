// How long a batch takes, learned from those that ran. One model for each lane.
#ifndef LONGTAKE_SCHEDULER_COST_MODEL_H_
#define LONGTAKE_SCHEDULER_COST_MODEL_H_

#include <array>
#include <cstdint>

#include "scheduler/device.h"

namespace longtake::scheduler {

// What a batch holds: passes of text, and tokens (Request::latent_tokens times latent frames) of the other kinds.
class Work {
 public:
  // A pass of text counts as one, whatever `tokens` is.
  void Add(PassKind kind, double tokens) { amount_[Index(kind)] += kind == PassKind::kEncodePrompt ? 1 : tokens; }
  double amount(PassKind kind) const { return amount_[Index(kind)]; }

  static constexpr int kKinds = kPassKinds.size();
  static constexpr int Index(PassKind kind) { return static_cast<int>(kind); }

 private:
  std::array<double, kKinds> amount_ = {};
};

// seconds = fixed + the sum over kinds of (seconds per unit x amount), all coefficients at least 0, fitted by least
// squares on residuals in units of the prediction. So a batch of one decode weighs as much as one of sixty denoising
// passes, and the predictions of many batches add up to what they took, however much single ones scatter.
// Deterministic.
class CostModel {
 public:
  // 0 before the first observation.
  double Predict(const Work& work) const;

  // Seconds that a pass adds to a batch that runs anyway; that it takes alone; and its part of a batch of `company`
  // like it, or of as many as fit into the longest batch.
  double Marginal(PassKind kind, double tokens) const;
  double Alone(PassKind kind, double tokens) const { return InCompany(kind, tokens, 1); }
  double InCompany(PassKind kind, double tokens, int company) const;
  double fixed() const { return weights_[kFixed]; }

  void Observe(const Work& work, double seconds);

  // Each kind of pass that a lane of this role runs has been seen; text need not be.
  bool learned(LaneRole role) const;
  uint64_t observations() const { return observations_; }
  // Moving means over about fifty batches of |predicted - actual| / actual, each predicted before it was learned from:
  // of all batches, and of those that held the kind. 0 before there are any.
  double error() const { return error_; }
  double error(PassKind kind) const { return kind_error_[Work::Index(kind)]; }

 private:
  static constexpr int kFixed = Work::kKinds, kWeights = Work::kKinds + 1;
  using Vector = std::array<double, kWeights>;

  Vector Scaled(const Work& work) const;

  uint64_t observations_ = 0;
  Vector scale_ = {};    // of a kind: the amount first seen, 0: none yet; weights are seconds for that amount
  Vector weights_ = {};  // seconds
  // Of the batches so far, the older the less: sums of x x^T and of x y, where x is a batch's amounts and y its
  // seconds, both over the seconds predicted.
  std::array<Vector, kWeights> squares_ = {};
  Vector sums_ = {};
  Vector stay_ = {};  // how much the old weight counts; 0: the kind was not seen
  double error_ = 0;
  std::array<double, Work::kKinds> kind_error_ = {};
  std::array<uint64_t, Work::kKinds> seen_ = {};
};

// The cost models of one device: of each kind of pass, that of the lane which runs it.
struct Costs {
  const CostModel* transformer = nullptr;
  const CostModel* decoder = nullptr;  // the same one where one lane runs everything

  const CostModel& of(PassKind kind) const { return kind == PassKind::kDecode ? *decoder : *transformer; }
  double Alone(PassKind kind, double tokens) const { return of(kind).Alone(kind, tokens); }
  double InCompany(PassKind kind, double tokens, int company) const {
    return of(kind).InCompany(kind, tokens, company);
  }
  double Marginal(PassKind kind, double tokens) const { return of(kind).Marginal(kind, tokens); }
  // A session's whole cycle has been seen: a denoising pass, a commit and a decode.
  bool learned() const { return transformer->learned(LaneRole::kTransformer) && decoder->learned(LaneRole::kDecoder); }
};

}  // namespace longtake::scheduler

#endif  // LONGTAKE_SCHEDULER_COST_MODEL_H_
