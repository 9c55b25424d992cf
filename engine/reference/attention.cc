// Linear self-attention with state, cross-attention, softmax attention.
#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/reference/reference_impl.h"

namespace longtake::reference {
namespace {

// One row's 1/rms over all heads; 1 where there is no norm.
double InverseRms(const float* x, int64_t n, float eps, const float* weight) {
  if (weight == nullptr) return 1.0;
  double squares = 0;
  for (int64_t i = 0; i < n; ++i) squares += double{x[i]} * x[i];
  return 1.0 / std::sqrt(squares / static_cast<double>(n) + eps);
}

// 3-D rotary positions: d_h = d_w = 2*floor(d/6), d_t = d - d_h - d_w; order t, h, w; theta 10 000; adjacent pairs.
void Rotate(const double* x, int d, int frame, int row, int column, double* out) {
  const int dh = 2 * (d / 6), dt = d - 2 * dh;
  const int widths[3] = {dt, dh, dh}, positions[3] = {frame, row, column};
  int at = 0;
  for (int axis = 0; axis < 3; ++axis) {
    for (int i = 0; i < widths[axis]; i += 2, at += 2) {
      const double angle = positions[axis] / std::pow(10000.0, static_cast<double>(i) / widths[axis]);
      // The reference's tables are float32.
      const double c = static_cast<float>(std::cos(angle)), s = static_cast<float>(std::sin(angle));
      out[at] = x[at] * c - x[at + 1] * s;
      out[at + 1] = x[at] * s + x[at + 1] * c;
    }
  }
}

// q and k of one token and head after norm and ReLU, and rotated.
struct Token {
  std::vector<double> plain, rotated;
};

void Project(const float* x, double inverse, const float* weight, int head, int d, int frame, int row, int column,
             Token* out) {
  out->plain.resize(d);
  out->rotated.resize(d);
  for (int i = 0; i < d; ++i) {
    const int64_t at = int64_t{head} * d + i;
    out->plain[i] = std::max(0.0, x[at] * inverse * (weight == nullptr ? 1.0 : weight[at]));
  }
  Rotate(out->plain.data(), d, frame, row, column, out->rotated.data());
}

void AttendSegment(const LinearAttentionArgs& a, const LinearAttentionSegment& s) {
  const int d = a.head_dim;
  const int64_t D = int64_t{a.heads} * d;
  const Segment& t = s.tokens;
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
      Project(k, InverseRms(k, D, a.norm_eps, a.k_weight), a.k_weight, head, d, frame, row, column, &token);
      for (int i = 0; i < d; ++i) {
        for (int j = 0; j < d; ++j) S[i * d + j] += v[i] * token.rotated[j];
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
      Project(q, InverseRms(q, D, a.norm_eps, a.q_weight), a.q_weight, head, d, frame, row, column, &token);
      double denominator = 1e-15;
      for (int i = 0; i < d; ++i) denominator += total_z[i] * token.plain[i];
      for (int i = 0; i < d; ++i) {
        double sum = 0;
        for (int j = 0; j < d; ++j) sum += total_S[i * d + j] * token.rotated[j];
        Row(a.out, n)[int64_t{head} * d + i] = static_cast<float>(sum / denominator);
      }
    });
  }
}

// out = softmax(scores) V over `keys` rows; the scores are overwritten.
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

}  // namespace

void ReferenceOps::LinearAttention(const LinearAttentionArgs& args) {
  for (const LinearAttentionSegment& s : args.segments) AttendSegment(args, s);
}

// Layout: K [tokens, h*d], then V [tokens, h*d], f32.
size_t ReferenceOps::CrossKvBytes(int64_t tokens, int heads, int head_dim) const {
  return 2 * tokens * heads * head_dim * sizeof(float);
}

void ReferenceOps::PrepareCrossKv(ConstMat k, ConstMat v, const float* k_weight, float norm_eps, int heads,
                                  int head_dim, void* out) {
  const int64_t width = int64_t{heads} * head_dim;
  float* keys = static_cast<float*>(out);
  float* values = keys + k.rows * width;
  for (int64_t n = 0; n < k.rows; ++n) {
    const double inverse = InverseRms(Row(k, n), width, norm_eps, k_weight);
    for (int64_t i = 0; i < width; ++i) {
      keys[n * width + i] = static_cast<float>(Row(k, n)[i] * inverse * (k_weight == nullptr ? 1.0 : k_weight[i]));
      values[n * width + i] = Row(v, n)[i];
    }
  }
}

void ReferenceOps::CrossAttention(const CrossAttentionArgs& a) {
  const int d = a.head_dim;
  const int64_t width = int64_t{a.heads} * d;
  for (const CrossAttentionSegment& s : a.segments) {
    const float* keys = static_cast<const float*>(s.kv.data);
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
        // SoftmaxSum overwrote the scores; the next head computes its own.
      }
    }
  }
}

void ReferenceOps::SoftmaxAttention(const SoftmaxAttentionArgs& a) {
  const int d = a.head_dim;
  const int64_t k_at = int64_t{a.heads} * d, v_at = k_at + int64_t{a.kv_heads} * d;
  // Half-split rotation: element i pairs with i + d/2.
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
        if (first >= last) {  // a padded row whose window holds padding only
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

}  // namespace longtake::reference
