#include "engine/ops/hybrid.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/reference/families.h"
#include "engine/reference/kernel.h"
#include "engine/reference/rotary.h"

namespace longtake::reference {
namespace {

class Hybrid final : public HybridOps {
 public:
  using HybridOps::HybridOps;

 private:
  void DoDepthAttention(const DepthAttentionArgs& a) override {
    const int64_t D = a.out.cols;
    std::vector<double> weights(a.sources.size());
    for (int64_t n = 0; n < a.out.rows; ++n) {
      for (size_t m = 0; m < weights.size(); ++m) {
        const float* x = Row(a.sources[m], n);
        double dot = 0;
        for (int64_t i = 0; i < D; ++i) dot += double{a.weight[i]} * x[i];
        weights[m] = dot * InverseRms(x, D, a.eps, a.weight);
      }
      const double top = *std::max_element(weights.begin(), weights.end());
      double total = 0;
      for (double& weight : weights) total += weight = std::exp(weight - top);
      for (int64_t i = 0; i < D; ++i) {
        double sum = 0;
        for (size_t m = 0; m < weights.size(); ++m) sum += weights[m] * Row(a.sources[m], n)[i];
        Row(a.out, n)[i] = static_cast<float>(sum / total);
      }
    }
  }

  void DoRotateOnGrid(const RotateOnGridArgs& a) override {
    const int64_t D = int64_t{a.heads} * a.head_dim;
    std::vector<double> plain(a.head_dim), rotated(a.head_dim);
    for (const Segment& s : a.segments) {
      for (int64_t n = 0; n < s.rows(); ++n) {
        const int64_t row = s.first_row + n;
        const int frame = s.first_frame + static_cast<int>(n / (int64_t{s.height} * s.width));
        for (const float* weight : {a.q_weight, a.k_weight}) {
          const int64_t first = weight == a.q_weight ? 0 : D;
          const float* x = Row(a.qkv, row) + first;
          const double inverse = InverseRms(x, D, a.norm_eps, weight);
          for (int head = 0; head < a.heads; ++head) {
            const int64_t at = int64_t{head} * a.head_dim;
            for (int i = 0; i < a.head_dim; ++i) plain[i] = x[at + i] * inverse * weight[at + i];
            Rotate(plain.data(), a.head_dim, frame, static_cast<int>(n / s.width % s.height),
                   static_cast<int>(n % s.width), rotated.data());
            for (int i = 0; i < a.head_dim; ++i) Row(a.out, row)[first + at + i] = static_cast<float>(rotated[i]);
          }
        }
        std::copy_n(Row(a.qkv, row) + 2 * D, D, Row(a.out, row) + 2 * D);
      }
    }
  }

  void DoGateHeads(const GateHeadsArgs& a) override {
    for (int64_t n = 0; n < a.y.rows; ++n) {
      for (int64_t first = 0; first < a.y.cols; first += a.head_dim) {
        const double inverse = InverseRms(Row(a.x, n) + first, a.head_dim, a.norm_eps, a.weight);
        for (int i = 0; i < a.head_dim; ++i) {
          const double normed = Row(a.x, n)[first + i] * inverse * (a.weight == nullptr ? 1.0 : a.weight[i]);
          Row(a.y, n)[first + i] = static_cast<float>(normed * Row(a.gate, n)[first + i]);
        }
      }
    }
  }

  void DoAddBranch(const AddBranchArgs& a) override {
    for (int64_t n = 0; n < a.x.rows; ++n) {
      for (int64_t i = 0; i < a.x.cols; ++i) {
        const double value = double{a.gate[a.mod_row[n] * a.gate_stride + i]} * Row(a.x, n)[i];
        float &stream = Row(a.stream, n)[i], &branch = Row(a.branch, n)[i];
        stream = static_cast<float>(stream + value);
        branch = static_cast<float>(a.begins ? value : branch + value);
      }
    }
  }
};

}  // namespace

std::unique_ptr<HybridOps> MakeHybridOps(FamilyContext* context) { return std::make_unique<Hybrid>(context); }

}  // namespace longtake::reference
