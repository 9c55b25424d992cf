#include "engine/ops/hybrid.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "engine/cpu/families.h"
#include "engine/cpu/grid_angles.h"
#include "engine/cpu/views.h"

namespace longtake::cpu {
namespace {

// The sum of f(i) for i below n, in sixteen interleaved sums, so that the compiler can use vectors without changing the
// order of a sum.
template <typename F>
float SumOf(int64_t n, F&& f) {
  constexpr int kSums = 16;
  std::array<float, kSums> sums = {};
  int64_t i = 0;
  for (; i + kSums <= n; i += kSums) {
    for (int j = 0; j < kSums; ++j) sums[j] += f(i + j);
  }
  for (; i < n; ++i) sums[0] += f(i);
  float sum = 0;
  for (const float each : sums) sum += each;
  return sum;
}

class CpuHybridOps final : public HybridOps {
 public:
  explicit CpuHybridOps(Context& context) : HybridOps(&context), context_(context) {}

 private:
  void DoDepthAttention(const DepthAttentionArgs& args) override;
  void DoRotateOnGrid(const RotateOnGridArgs& args) override;
  void DoGateHeads(const GateHeadsArgs& args) override;
  void DoAddBranch(const AddBranchArgs& args) override;

  Context& context_;
};

void CpuHybridOps::DoDepthAttention(const DepthAttentionArgs& args) {
  const int64_t D = args.out.cols;
  const size_t count = args.sources.size();
  context_.ForRows(args.out.rows, D * static_cast<int64_t>(count), [&](int64_t first, int64_t n, int) {
    std::array<float, DepthAttentionArgs::kMostSources> weights;
    for (int64_t row = first; row < first + n; ++row) {
      for (size_t m = 0; m < count; ++m) {
        const float* x = Floats(args.sources[m], row);
        const float squares = SumOf(D, [x](int64_t i) { return x[i] * x[i]; });
        const float dot = SumOf(D, [x, w = args.weight](int64_t i) { return w[i] * x[i]; });
        weights[m] = dot / std::sqrt(squares / static_cast<float>(D) + args.eps);
      }
      const float top = *std::max_element(weights.begin(), weights.begin() + count);
      float total = 0;
      for (size_t m = 0; m < count; ++m) total += weights[m] = std::exp(weights[m] - top);
      float* out = Floats(args.out, row);
      for (size_t m = 0; m < count; ++m) {
        const float* x = Floats(args.sources[m], row);
        const float weight = weights[m] / total;
        for (int64_t i = 0; i < D; ++i) out[i] = m == 0 ? weight * x[i] : out[i] + weight * x[i];
      }
    }
  });
}

void CpuHybridOps::DoRotateOnGrid(const RotateOnGridArgs& args) {
  const int d = args.head_dim;
  const int64_t D = int64_t{args.heads} * d, rows = args.qkv.rows;
  Workspace::Scope scope(context_.workspace);
  const GridAngles angles = {.cosines = scope.TakeFloats(rows * d), .sines = scope.TakeFloats(rows * d)};
  float* const inverses = scope.TakeFloats(2 * rows);
  FillAngles(
      context_, args.segments, [](const Segment& s) -> const Segment& { return s; }, d, angles);
  const auto rotate = [&](const ConstMat& x, const float* weight, int64_t row, float inverse, const Mat& out) {
    const float *from = Floats(x, row), *cosines = angles.cosines + row * d, *sines = angles.sines + row * d;
    for (int head = 0; head < args.heads; ++head) {
      const int64_t at = int64_t{head} * d;
      for (int i = 0; i < d; i += 2) {
        const float a = from[at + i] * inverse * weight[at + i], b = from[at + i + 1] * inverse * weight[at + i + 1];
        WriteElement(out, row, at + i, a * cosines[i] + b * sines[i]);
        WriteElement(out, row, at + i + 1, b * cosines[i + 1] + a * sines[i + 1]);
      }
    }
  };
  const ConstMat q = args.qkv.Cols(0, D), k = args.qkv.Cols(D, D), v = args.qkv.Cols(2 * D, D);
  for (const Segment& s : args.segments) {
    context_.ForRows(s.rows(), 3 * D, [&](int64_t begin, int64_t n, int) {
      const int64_t first = s.first_row + begin;
      context_.kernels.inverse_rms(q.Rows(first, n), args.norm_eps, inverses + first);
      context_.kernels.inverse_rms(k.Rows(first, n), args.norm_eps, inverses + rows + first);
      for (int64_t row = first; row < first + n; ++row) {
        rotate(q, args.q_weight, row, inverses[row], args.out.Cols(0, D));
        rotate(k, args.k_weight, row, inverses[rows + row], args.out.Cols(D, D));
      }
      context_.kernels.activate(v.Rows(first, n), Activation::kNone, args.out.Cols(2 * D, D).Rows(first, n));
    });
  }
}

void CpuHybridOps::DoGateHeads(const GateHeadsArgs& args) {
  const int d = args.head_dim;
  context_.ForRows(args.y.rows, args.y.cols, [&](int64_t first, int64_t n, int) {
    for (int64_t row = first; row < first + n; ++row) {
      for (int64_t at = 0; at < args.y.cols; at += d) {
        float inverse = 1.f;
        if (args.weight != nullptr) {
          const float squares = SumOf(d, [&](int64_t i) {
            const float x = ReadElement(args.x, row, at + i);
            return x * x;
          });
          inverse = 1.f / std::sqrt(squares / static_cast<float>(d) + args.norm_eps);
        }
        for (int i = 0; i < d; ++i) {
          const float weight = args.weight == nullptr ? 1.f : args.weight[i] * inverse;
          WriteElement(args.y, row, at + i,
                       ReadElement(args.x, row, at + i) * weight * ReadElement(args.gate, row, at + i));
        }
      }
    }
  });
}

void CpuHybridOps::DoAddBranch(const AddBranchArgs& args) {
  context_.ForRows(args.x.rows, args.x.cols, [&](int64_t first, int64_t n, int) {
    for (int64_t row = first; row < first + n; ++row) {
      const float *x = Floats(args.x, row), *gate = args.gate + args.mod_row[row] * args.gate_stride;
      float *stream = Floats(args.stream, row), *branch = Floats(args.branch, row);
      for (int64_t i = 0; i < args.x.cols; ++i) {
        const float value = gate[i] * x[i];
        stream[i] += value;
        branch[i] = args.begins ? value : branch[i] + value;
      }
    }
  });
}

}  // namespace

std::unique_ptr<HybridOps> MakeHybridOps(Context& context) { return std::make_unique<CpuHybridOps>(context); }

}  // namespace longtake::cpu
