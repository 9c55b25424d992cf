// Linear attention. First computes each row's norms and angles, then runs one task for each head of each segment.
#include <algorithm>

#include "engine/cpu/attention.h"
#include "engine/cpu/views.h"

namespace longtake::cpu {
namespace {

// The angles of every row, the same for all heads, [rows, head_dim]: axes t, h, w, of widths dt, dh, dh.
struct Angles {
  float *cosines, *sines;
};

// One loop runs over the lines of all segments. One loop for each segment would synchronize the threads once for each
// session of a batch, in each layer.
void FillAngles(Context& context, const LinearAttentionArgs& args, const Angles& angles) {
  const int d = args.head_dim, dh = 2 * (d / 6), dt = d - 2 * dh;
  int64_t frames = 0, side = 0;
  for (const LinearAttentionSegment& s : args.segments) {
    frames = std::max<int64_t>(frames, int64_t{s.tokens.first_frame} + s.tokens.frames);
    side = std::max<int64_t>({side, s.tokens.height, s.tokens.width});
  }
  const RotaryTable& table_t = context.rotary.Pairs(dt, frames);
  const RotaryTable& table_hw = context.rotary.Pairs(dh, side);
  const auto lines_of = [](const Segment& s) { return int64_t{s.frames} * s.height; };
  int64_t lines = 0;
  for (const LinearAttentionSegment& s : args.segments) lines += lines_of(s.tokens);
  constexpr int64_t kLines = 8;  // lines of one task, which takes some microseconds
  context.ParallelFor((lines + kLines - 1) / kLines, [&](int64_t task, int) {
    size_t at_segment = 0;
    int64_t line = task * kLines;
    for (int64_t left = std::min(kLines, lines - line); left > 0; --left, ++line) {
      while (line >= lines_of(args.segments[at_segment].tokens)) line -= lines_of(args.segments[at_segment++].tokens);
      const Segment& s = args.segments[at_segment].tokens;
      const int64_t frame = s.first_frame + line / s.height, y = line % s.height;
      for (int64_t x = 0; x < s.width; ++x) {
        const int64_t at = (s.first_row + line * s.width + x) * d;
        const auto fill = [&](const float* of_frame, const float* of_row, const float* of_column, float* to) {
          std::copy_n(of_frame, dt, to);
          std::copy_n(of_row, dh, to + dt);
          std::copy_n(of_column, dh, to + dt + dh);
        };
        fill(table_t.cosines(frame), table_hw.cosines(y), table_hw.cosines(x), angles.cosines + at);
        fill(table_t.sines(frame), table_hw.sines(y), table_hw.sines(x), angles.sines + at);
      }
    }
  });
}

}  // namespace

void AttendLinear(Context& context, const LinearAttentionArgs& args) {
  const int d = args.head_dim;
  const int64_t D = int64_t{args.heads} * d, rows = args.qkv.rows;
  const ConstMat q = args.qkv.Cols(0, D), k = args.qkv.Cols(D, D), v = args.qkv.Cols(2 * D, D);
  const bool norm = args.q_weight != nullptr;
  Workspace::Scope scope(context.workspace);
  const Angles angles = {.cosines = scope.TakeFloats(rows * d), .sines = scope.TakeFloats(rows * d)};
  float* const q_inverse = norm ? scope.TakeFloats(rows) : nullptr;
  float* const k_inverse = norm ? scope.TakeFloats(rows) : nullptr;
  const Workspace::PerThread scratches = scope.TakePerThread(LinearAttentionScratchFloats(d) * sizeof(float));

  FillAngles(context, args, angles);
  if (norm) {  // the norms cover all heads, so they are computed once a row
    context.ForRows(rows, 2 * D, [&](int64_t first, int64_t n, int) {
      context.kernels.inverse_rms(q.Rows(first, n), args.norm_eps, q_inverse + first);
      context.kernels.inverse_rms(k.Rows(first, n), args.norm_eps, k_inverse + first);
    });
  }
  context.ParallelFor(static_cast<int64_t>(args.segments.size()) * args.heads, [&](int64_t task, int thread) {
    const LinearAttentionSegment& s = args.segments[task / args.heads];
    const int64_t head = task % args.heads, S_at = head * d * d, z_at = head * d;
    const int64_t first = s.tokens.first_row, n = s.tokens.rows();
    LinearAttentionTask g;
    g.q = q.Rows(first, n).Cols(z_at, d);
    g.k = k.Rows(first, n).Cols(z_at, d);
    g.v = v.Rows(first, n).Cols(z_at, d);
    g.q_inverse_rms = norm ? q_inverse + first : nullptr;
    g.k_inverse_rms = norm ? k_inverse + first : nullptr;
    g.q_weight = norm ? args.q_weight + z_at : nullptr;
    g.k_weight = norm ? args.k_weight + z_at : nullptr;
    g.cosines = angles.cosines + first * d;
    g.sines = angles.sines + first * d;
    g.history = s.history.data();
    g.history_count = static_cast<int>(s.history.size());
    g.S_offset = S_at;
    g.z_offset = z_at;
    g.S_out = s.S_out == nullptr ? nullptr : s.S_out + S_at;
    g.z_out = s.z_out == nullptr ? nullptr : s.z_out + z_at;
    g.store_sum = s.store_sum;
    g.out = args.out.Rows(first, n).Cols(z_at, d);
    g.scratch = scratches.floats_of(thread);
    context.kernels.linear_attention(g);
  });
}

}  // namespace longtake::cpu
