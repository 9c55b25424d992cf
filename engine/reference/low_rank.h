// Internal to reference/: low-rank terms by plain loops.
#ifndef LONGTAKE_ENGINE_REFERENCE_LOW_RANK_H_
#define LONGTAKE_ENGINE_REFERENCE_LOW_RANK_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/ops/low_rank.h"
#include "engine/reference/kernel.h"

namespace longtake::reference {

// The terms of one row.
class RowTerms {
 public:
  // inputs(tap): the row's inputs of that tap, or null where they are zeros.
  template <typename F>
  RowTerms(std::span<const LowRankTerm> terms, int64_t row, const F& inputs) {
    for (const LowRankTerm& term : terms) {
      if (row < term.first_row || row >= term.first_row + term.rows) continue;
      const Kernel& a = AsKernel(*term.a);
      std::vector<float> t;
      for (int64_t k = 0; k < a.shape().outputs; ++k) {
        double sum = 0;
        for (int tap = 0; tap < a.shape().taps(); ++tap) {
          const float* x = inputs(tap);
          if (x == nullptr) continue;
          for (int64_t i = 0; i < a.shape().inputs; ++i) sum += double{a.tap(k, tap)[i]} * x[i];
        }
        t.push_back(static_cast<float>(term.scale * sum));
      }
      terms_.push_back({&AsKernel(*term.b), std::move(t)});
    }
  }

  // The sum of the terms for one output.
  double at(int64_t output) const {
    double sum = 0;
    for (const Term& term : terms_) {
      for (size_t k = 0; k < term.t.size(); ++k) sum += double{term.b->row(output)[k]} * term.t[k];
    }
    return sum;
  }

 private:
  struct Term {
    const Kernel* b;
    std::vector<float> t;
  };
  std::vector<Term> terms_;
};

}  // namespace longtake::reference

#endif  // LONGTAKE_ENGINE_REFERENCE_LOW_RANK_H_
