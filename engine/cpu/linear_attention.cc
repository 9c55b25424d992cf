// Linear attention: norms and angles of each row first, then one task for each head of each segment.
#include <algorithm>

#include "engine/cpu/attention.h"
#include "engine/cpu/views.h"

namespace longtake::cpu {
namespace {

// The angles of every row, for all heads, [rows, head_dim]: axes t, h, w of widths dt, dh, dh one after the other.
struct Angles {
  float *cosines, *sines;
};

// Goes over the lines of all segments in one loop: a loop for each segment would make the threads meet once for each
// session of a batch, in each layer.
void FillAngles(Context& context, const LinearAttentionArgs& args, const Angles& angles) {
  const int d = args.head_dim, dh = 2 * (d / 6), dt = d - 2 * dh;
  const RotaryTable& table_t = context.rotary.Pairs(dt, args.rope_max_positions);
  const RotaryTable& table_hw = context.rotary.Pairs(dh, args.rope_max_positions);
  const auto lines_of = [](const Segment& s) { return int64_t{s.frames} * s.height; };
  int64_t lines = 0;
  for (const LinearAttentionSegment& s : args.segments) lines += lines_of(s.tokens);
  constexpr int64_t kLines = 8;  // of a task: some microseconds
  context.ParallelFor((lines + kLines - 1) / kLines, [&](int64_t task, int) {
    size_t at_segment = 0;
    int64_t line = task * kLines;
    for (int64_t left = std::min(kLines, lines - line); left > 0; --left, ++line) {
      while (line >= lines_of(args.segments[at_segment].tokens)) line -= lines_of(args.segments[at_segment++].tokens);
      const Segment& s = args.segments[at_segment].tokens;
      const int64_t frame = s.first_frame + line / s.height, y = line % s.height;
      for (int64_t x = 0; x < s.width; ++x) {
        const int64_t at = (s.first_row + line * s.width + x) * d;
        const auto fill = [&](const std::vector<float>& t, const std::vector<float>& hw, float* to) {
          std::copy_n(t.data() + frame * dt, dt, to);
          std::copy_n(hw.data() + y * dh, dh, to + dt);
          std::copy_n(hw.data() + x * dh, dh, to + dt + dh);
        };
        fill(table_t.cosines, table_hw.cosines, angles.cosines + at);
        fill(table_t.sines, table_hw.sines, angles.sines + at);
      }
    }
  });
}

}  // namespace

void AttendLinear(Context& context, const LinearAttentionArgs& args) {
  const int d = args.head_dim;
  const int64_t D = int64_t{args.heads} * d, rows = args.qkv.rows;
  auto* const inverse = reinterpret_cast<float*>(context.workspace.Shared((2 * rows + 2 * rows * d) * sizeof(float)));
  const Angles angles = {.cosines = inverse + 2 * rows, .sines = inverse + 2 * rows + rows * d};

  // The norms run over all heads: once a row, before the heads.
  const ConstMat q = args.qkv.Cols(0, D), k = args.qkv.Cols(D, D), v = args.qkv.Cols(2 * D, D);
  context.ForRows(rows, 2 * D, [&](int64_t first, int64_t n, int) {
    if (args.q_weight == nullptr) return;
    context.kernels.inverse_rms(q.Rows(first, n), args.norm_eps, inverse + first);
    context.kernels.inverse_rms(k.Rows(first, n), args.norm_eps, inverse + rows + first);
  });
  FillAngles(context, args, angles);

  size_t most = 0;
  for (const auto& s : args.segments) most = std::max(most, s.history.size());
  const int64_t scratch_floats = RoundUp(LinearAttentionScratchFloats(d), 16);
  context.workspace.KeepPerThread(scratch_floats * sizeof(float) + most * sizeof(LinearHistory));
  context.ParallelFor(static_cast<int64_t>(args.segments.size()) * args.heads, [&](int64_t task, int thread) {
    const LinearAttentionSegment& s = args.segments[task / args.heads];
    const int64_t head = task % args.heads, S_at = head * d * d, z_at = head * d;
    const int64_t first = s.tokens.first_row, n = s.tokens.rows();
    float* const scratch = context.workspace.FloatsOfThread(thread);
    auto* const history = reinterpret_cast<LinearHistory*>(scratch + scratch_floats);
    for (size_t i = 0; i < s.history.size(); ++i) history[i] = {s.history[i].S + S_at, s.history[i].z + z_at};
    LinearAttentionTask g;
    g.q = q.Rows(first, n).Cols(z_at, d);
    g.k = k.Rows(first, n).Cols(z_at, d);
    g.v = v.Rows(first, n).Cols(z_at, d);
    g.q_inverse_rms = inverse + first;
    g.k_inverse_rms = inverse + rows + first;
    g.q_weight = args.q_weight == nullptr ? nullptr : args.q_weight + z_at;
    g.k_weight = args.k_weight == nullptr ? nullptr : args.k_weight + z_at;
    g.cosines = angles.cosines + first * d;
    g.sines = angles.sines + first * d;
    g.history = history;
    g.history_count = static_cast<int>(s.history.size());
    g.S_out = s.S_out == nullptr ? nullptr : s.S_out + S_at;
    g.z_out = s.z_out == nullptr ? nullptr : s.z_out + z_at;
    g.store_sum = s.store_sum;
    g.out = args.out.Rows(first, n).Cols(z_at, d);
    g.scratch = scratch;
    context.kernels.linear_attention(g);
  });
}

}  // namespace longtake::cpu
