#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/reference/families.h"
#include "engine/reference/kernel.h"
#include "engine/reference/linear_attention.h"

namespace longtake::reference {
namespace {

// out = softmax(scores) V over scores.size() rows of V. Overwrites the scores.
template <typename ValueRow>
void SoftmaxSum(std::vector<double>& scores, ValueRow&& value, int d, float* out) {
  const double top = *std::max_element(scores.begin(), scores.end());
  double total = 0;
  for (double& s : scores) total += (s = std::exp(s - top));
  for (int i = 0; i < d; ++i) {
    double sum = 0;
    for (size_t j = 0; j < scores.size(); ++j) sum += scores[j] * value(j)[i];
    out[i] = static_cast<float>(sum / total);
  }
}

void CrossAttend(const CrossAttentionArgs& a) {
  const int d = a.head_dim;
  const int64_t width = int64_t{a.heads} * d;
  for (const CrossAttentionSegment& s : a.segments) {
    const float* keys = reinterpret_cast<const float*>(s.kv.data);
    const float* values = keys + s.kv.tokens * width;
    std::vector<double> scores(s.kv.tokens);
    for (int64_t n = s.first_row; n < s.first_row + s.rows; ++n) {
      const float* q = Row(a.q, n);
      const double inverse = InverseRms(q, width, a.norm_eps, a.q_weight);
      for (int head = 0; head < a.heads; ++head) {
        const int64_t at = int64_t{head} * d;
        for (int64_t j = 0; j < s.kv.tokens; ++j) {
          double dot = 0;
          for (int i = 0; i < d; ++i) {
            const double weight = a.q_weight == nullptr ? 1.0 : a.q_weight[at + i];
            dot += q[at + i] * inverse * weight * keys[j * width + at + i];
          }
          scores[j] = dot / std::sqrt(static_cast<double>(d));
        }
        SoftmaxSum(
            scores, [&](size_t j) { return values + j * width + at; }, d, Row(a.out, n) + at);
      }
    }
  }
}

void SoftmaxAttend(const SoftmaxAttentionArgs& a) {
  const int d = a.head_dim;
  const int64_t k_at = int64_t{a.heads} * d, v_at = k_at + int64_t{a.kv_heads} * d;
  // Half-split rotation: element i and element i + d/2 form a pair.
  auto rotated = [&](const float* x, int64_t position) {
    std::vector<double> out(x, x + d);
    if (a.rope_theta == 0.f) return out;
    for (int i = 0; i < d / 2; ++i) {
      const float inverse_frequency =
          static_cast<float>(1.0 / std::pow(static_cast<double>(a.rope_theta), 2.0 * i / d));
      const float angle = static_cast<float>(position) * inverse_frequency;
      const double c = std::cos(double{angle}), s = std::sin(double{angle});
      out[i] = x[i] * c - x[i + d / 2] * s;
      out[i + d / 2] = x[i + d / 2] * c + x[i] * s;
    }
    return out;
  };
  for (const SoftmaxAttentionSegment& s : a.segments) {
    for (int head = 0; head < a.heads; ++head) {
      const int64_t kv = head / (a.heads / a.kv_heads);
      std::vector<std::vector<double>> keys(s.key_rows);
      for (int64_t j = 0; j < s.key_rows; ++j) keys[j] = rotated(Row(a.qkv, s.first_row + j) + k_at + kv * d, j);
      for (int64_t n = 0; n < s.rows; ++n) {
        const std::vector<double> q = rotated(Row(a.qkv, s.first_row + n) + int64_t{head} * d, n);
        const int64_t last = a.causal ? std::min(n + 1, s.key_rows) : s.key_rows;
        const int64_t first = a.window > 0 ? std::max<int64_t>(0, n - a.window + 1) : 0;
        float* out = Row(a.out, s.first_row + n) + int64_t{head} * d;
        if (first >= last) {  // a padding row whose window contains only padding
          std::fill(out, out + d, 0.f);
          continue;
        }
        std::vector<double> scores(last - first);
        for (int64_t j = first; j < last; ++j) {
          double dot = 0;
          for (int i = 0; i < d; ++i) dot += q[i] * keys[j][i];
          dot *= a.scale;
          scores[j - first] = a.soft_cap > 0 ? a.soft_cap * std::tanh(dot / a.soft_cap) : dot;
        }
        SoftmaxSum(
            scores, [&](size_t j) { return Row(a.qkv, s.first_row + first + j) + v_at + kv * d; }, d, out);
      }
    }
  }
}

class Attention final : public AttentionOps {
 public:
  using AttentionOps::AttentionOps;

  // Layout: K [tokens, h*d], then V [tokens, h*d], f32.
  size_t CrossKvBytes(int64_t tokens, int heads, int head_dim) const override {
    return 2 * tokens * heads * head_dim * sizeof(float);
  }

 private:
  void DoLinearAttention(const LinearAttentionArgs& a) override {
    for (const LinearAttentionSegment& s : a.segments) LinearAttentionOfSegment(a, s);
  }

  void DoPrepareCrossKv(const PrepareCrossKvArgs& a) override {
    const int64_t width = a.k.cols;
    float* keys = reinterpret_cast<float*>(a.out);
    float* values = keys + a.k.rows * width;
    for (int64_t n = 0; n < a.k.rows; ++n) {
      const double inverse = InverseRms(Row(a.k, n), width, a.norm_eps, a.k_weight);
      for (int64_t i = 0; i < width; ++i) {
        const double weight = a.k_weight == nullptr ? 1.0 : a.k_weight[i];
        keys[n * width + i] = static_cast<float>(Row(a.k, n)[i] * inverse * weight);
        values[n * width + i] = Row(a.v, n)[i];
      }
    }
  }

  void DoCrossAttention(const CrossAttentionArgs& a) override { CrossAttend(a); }
  void DoSoftmaxAttention(const SoftmaxAttentionArgs& a) override { SoftmaxAttend(a); }
};

}  // namespace

std::unique_ptr<AttentionOps> MakeAttentionOps(FamilyContext* context) { return std::make_unique<Attention>(context); }

}  // namespace longtake::reference
