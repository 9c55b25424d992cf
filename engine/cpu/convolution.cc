#include <algorithm>

#include "engine/cpu/families.h"
#include "engine/cpu/low_rank.h"
#include "engine/cpu/matmul.h"
#include "engine/cpu/segments.h"
#include "engine/cpu/views.h"

namespace longtake::cpu {
namespace {

class CpuConvolutionOps final : public ConvolutionOps {
 public:
  explicit CpuConvolutionOps(Context& context) : ConvolutionOps(&context), context_(context) {}
  bool adds_low_rank() const override { return true; }

 private:
  void DoConv(const ConvArgs& args) override;
  void DoDepthwiseGlu(const DepthwiseGluArgs& args) override;
  void DoTemporalConv(const TemporalConvArgs& args) override;

  Context& context_;
};

// Takes a row of zeros, as long as a row of inputs, for taps outside the input.
const std::byte* TakeZeros(Workspace::Scope& scope, const KernelShape& shape) {
  return scope.TakeZeros(RoundUp(shape.inputs, 64) * sizeof(float));
}

// The row or column of the input that stands at `at`, which may lie one outside.
int Reflected(int at, int size) { return std::clamp(at < 0 ? -at : at >= size ? 2 * size - 2 - at : at, 0, size - 1); }

void CpuConvolutionOps::DoConv(const ConvArgs& args) {
  const auto& kernel = static_cast<const CpuKernel&>(args.kernel);
  const KernelShape& shape = kernel.shape();
  const int64_t frame_rows = int64_t{args.out_height} * args.out_width;
  const bool residual = !args.residual.empty();
  const int up = args.upsample;
  const bool reflect = args.border == Border::kReflect;
  Workspace::Scope scope(context_.workspace);
  const std::byte* const zeros = TakeZeros(scope, shape);

  // Sets the row pointers [r0, r0 + n) to `n` consecutive pixels of one output row, from column x0 on.
  auto fill_run = [&](int64_t f, int y, int x0, int r0, int n, const RowPointers& p) {
    int tap = 0;
    for (int dt = 0; dt < shape.kt; ++dt) {
      const ConstMat& frame = args.in[f * shape.kt + dt];
      const int64_t pixel = frame.stride * BytesOf(frame.dtype);
      for (int dy = 0; dy < shape.kh; ++dy) {
        int sy = y * args.stride + dy - args.pad_top;
        if (reflect) sy = Reflected(sy, args.in_height);
        const bool outside = frame.data == nullptr || sy < 0 || sy >= args.in_height * up;
        const std::byte* line = outside ? nullptr : RowAt(frame, int64_t{sy / up} * args.in_width);
        for (int dx = 0; dx < shape.kw; ++dx, ++tap) {
          const void** to = p.a + tap * kMaxBlockRows + r0;
          if (args.stride == 1 && up == 1 && !outside) {  // zeros, consecutive pixels, zeros
            const int first = x0 + dx - args.pad_left;
            const int begin = std::clamp(-first, 0, n), end = std::clamp(args.in_width - first, begin, n);
            const auto outside_at = [&](int r) {
              return reflect ? line + Reflected(first + r, args.in_width) * pixel : zeros;
            };
            for (int r = 0; r < begin; ++r) to[r] = outside_at(r);
            for (int r = begin; r < end; ++r) to[r] = line + (first + r) * pixel;
            for (int r = end; r < n; ++r) to[r] = outside_at(r);
            continue;
          }
          for (int r = 0; r < n; ++r) {
            int sx = (x0 + r) * args.stride + dx - args.pad_left;
            if (reflect) sx = Reflected(sx, args.in_width);
            if (outside || sx < 0 || sx >= args.in_width * up) {
              to[r] = zeros;
            } else {
              to[r] = line + (up == 1 ? sx : up == 2 ? sx >> 1 : sx / up) * pixel;
            }
          }
        }
      }
    }
  };
  Matmul(context_, kernel, static_cast<int64_t>(args.out.size()) * frame_rows,
         [&](int64_t first, int n, const RowPointers& p) {
           for (int r = 0; r < n;) {
             const int64_t f = (first + r) / frame_rows, at = (first + r) % frame_rows;
             const int y = static_cast<int>(at / args.out_width), x = static_cast<int>(at % args.out_width);
             const int run = std::min(n - r, args.out_width - x);
             fill_run(f, y, x, r, run, p);
             for (int i = 0; i < run; ++i) {
               p.out[r + i] = RowAt(args.out[f], at + i);
               if (residual) p.add[r + i] = RowAt(args.residual[f], at + i);
             }
             r += run;
           }
         },
         {.out_type = args.out.front().dtype,
          .activation = args.activation,
          .add = residual,
          .add_type = args.out.front().dtype,
          .zeros = zeros});
}

void CpuConvolutionOps::DoDepthwiseGlu(const DepthwiseGluArgs& args) {
  const auto& kernel = static_cast<const DepthwiseKernel&>(args.kernel);
  // A task is one row of a frame and 256 channels of each half. Its three rows of 52 pixels and 2 x 512 bytes take 160
  // KiB, so the task of the next row finds two of its three rows in the L2 cache.
  constexpr int64_t kChannels = 256;
  const int64_t half = args.y.cols, chunks = (half + kChannels - 1) / kChannels;
  int64_t lines = 0;
  for (const Segment& s : args.segments) lines += int64_t{s.frames} * s.height;
  context_.ParallelFor(lines * chunks, [&](int64_t task, int) {
    int64_t line = task % lines;
    const int64_t channel = task / lines * kChannels;
    size_t at = 0;
    for (int64_t own; line >= (own = int64_t{args.segments[at].frames} * args.segments[at].height); ++at) line -= own;
    const Segment& s = args.segments[at];
    const int64_t pixels = int64_t{s.height} * s.width, first = s.first_row + line / s.height * pixels;
    DepthwiseBlock g;
    g.x = args.x.Rows(first, pixels);
    g.height = s.height;
    g.width = s.width;
    g.row = static_cast<int>(line % s.height);
    g.half = half;
    g.first = channel;
    g.count = std::min(kChannels, half - channel);
    g.weight = kernel.weight();
    g.bias = kernel.bias();
    g.silu = args.activation == Activation::kSilu;
    g.y = args.y.Rows(first, pixels);
    context_.kernels.depthwise_glu(g);
  });
}

void CpuConvolutionOps::DoTemporalConv(const TemporalConvArgs& args) {
  const Epilogue& e = args.epilogue;
  const bool gated = e.gate != nullptr;
  Workspace::Scope scope(context_.workspace);
  const std::byte* const zeros = TakeZeros(scope, args.kernel.shape());
  const auto inputs = [&](int64_t first, int n, const void** a) {
    SegmentRow at = FindRow(args.segments, first);
    for (int r = 0; r < n; ++r, NextRow(args.segments, &at)) {
      const Segment& s = args.segments[at.segment];
      const int64_t frame = int64_t{s.height} * s.width, row = s.first_row + at.row;
      const ConstMat& tail = args.tails[at.segment];
      a[r] = at.row >= frame ? RowAt(args.x, row - frame) : tail.data != nullptr ? RowAt(tail, at.row) : zeros;
      a[kMaxBlockRows + r] = RowAt(args.x, row);
      a[2 * kMaxBlockRows + r] = at.row + frame < s.rows() ? RowAt(args.x, row + frame) : zeros;
    }
  };
  const std::span<const LowRankRows> terms = PrepareLowRank(context_, scope, args.low_rank, inputs, zeros);
  Matmul(context_, static_cast<const CpuKernel&>(args.kernel), AllRows(args.segments),
         [&](int64_t first, int n, const RowPointers& p) {
           inputs(first, n, p.a);
           SegmentRow at = FindRow(args.segments, first);
           for (int r = 0; r < n; ++r, NextRow(args.segments, &at)) {
             const int64_t row = args.segments[at.segment].first_row + at.row;
             p.add[r] = RowAt(args.x, row);
             p.out[r] = RowAt(args.out, row);
             if (gated) p.gate[r] = e.gate + e.mod_row[row] * e.gate_stride;
           }
         },
         {.out_type = args.out.dtype,
          .accumulate = true,
          .gate = gated,
          .add = true,
          .add_type = args.x.dtype,
          .zeros = zeros,
          .low_rank = terms});
}

}  // namespace

std::unique_ptr<ConvolutionOps> MakeConvolutionOps(Context& context) {
  return std::make_unique<CpuConvolutionOps>(context);
}

}  // namespace longtake::cpu
