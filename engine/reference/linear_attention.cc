#include "engine/reference/linear_attention.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "engine/reference/kernel.h"
#include "engine/reference/rotary.h"

namespace longtake::reference {
namespace {

// q or k of one token and head after norm and ReLU, and the same rotated: before the ReLU where keys have gates.
struct Token {
  std::vector<double> plain, rotated;
};

void Project(const float* x, double inverse, const float* weight, int head, int d, int frame, int row, int column,
             bool gated, Token* out) {
  std::vector<double> normed(d);
  out->plain.resize(d);
  out->rotated.resize(d);
  for (int i = 0; i < d; ++i) {
    const int64_t at = int64_t{head} * d + i;
    normed[i] = x[at] * inverse * (weight == nullptr ? 1.0 : weight[at]);
    out->plain[i] = std::max(normed[i], 0.0);
  }
  Rotate(gated ? normed.data() : out->plain.data(), d, frame, row, column, out->rotated.data());
}

}  // namespace

void LinearAttentionOfSegment(const LinearAttentionArgs& a, const LinearAttentionSegment& s) {
  const int d = a.head_dim;
  const int64_t D = int64_t{a.heads} * d;
  const Segment& t = s.tokens;
  const bool gated = a.key_gate.data != nullptr;
  Token token;
  auto for_tokens = [&](auto&& f) {
    for (int64_t n = 0; n < t.rows(); ++n) {
      const int frame = t.first_frame + static_cast<int>(n / (t.height * t.width));
      f(t.first_row + n, frame, static_cast<int>(n / t.width % t.height), static_cast<int>(n % t.width));
    }
  };
  std::vector<double> S(d * d), z(d), total_S(d * d), total_z(d);
  for (int head = 0; head < a.heads; ++head) {
    std::fill(S.begin(), S.end(), 0.0);
    std::fill(z.begin(), z.end(), 0.0);
    for_tokens([&](int64_t n, int frame, int row, int column) {
      const float* k = Row(a.qkv, n) + D;
      const float* v = Row(a.qkv, n) + 2 * D + int64_t{head} * d;
      Project(k, InverseRms(k, D, a.norm_eps, a.k_weight), a.k_weight, head, d, frame, row, column, gated, &token);
      const double gate = gated ? Row(a.key_gate, n)[head] : 1.0;
      for (int i = 0; i < d; ++i) {
        for (int j = 0; j < d; ++j) S[i * d + j] += v[i] * gate * token.rotated[j];
        z[i] += token.plain[i];
      }
    });
    const int64_t S_at = int64_t{head} * d * d, z_at = int64_t{head} * d;
    std::fill(total_S.begin(), total_S.end(), 0.0);
    std::fill(total_z.begin(), total_z.end(), 0.0);
    for (const auto& past : s.history) {
      for (int i = 0; i < d * d; ++i) total_S[i] += past.S[S_at + i];
      for (int i = 0; i < d; ++i) total_z[i] += past.z[z_at + i];
    }
    for (int i = 0; i < d * d; ++i) total_S[i] += S[i];
    for (int i = 0; i < d; ++i) total_z[i] += z[i];
    if (s.S_out != nullptr) {
      const auto& keep_S = s.store_sum ? total_S : S;
      const auto& keep_z = s.store_sum ? total_z : z;
      for (int i = 0; i < d * d; ++i) s.S_out[S_at + i] = static_cast<float>(keep_S[i]);
      for (int i = 0; i < d; ++i) s.z_out[z_at + i] = static_cast<float>(keep_z[i]);
    }
    for_tokens([&](int64_t n, int frame, int row, int column) {
      const float* q = Row(a.qkv, n);
      Project(q, InverseRms(q, D, a.norm_eps, a.q_weight), a.q_weight, head, d, frame, row, column, gated, &token);
      double denominator = a.epsilon();
      for (int i = 0; i < d; ++i) denominator += total_z[i] * token.plain[i];
      for (int i = 0; i < d; ++i) {
        double sum = 0;
        for (int j = 0; j < d; ++j) sum += total_S[i * d + j] * token.rotated[j];
        Row(a.out, n)[int64_t{head} * d + i] = static_cast<float>(sum / denominator);
      }
    });
  }
}

}  // namespace longtake::reference
