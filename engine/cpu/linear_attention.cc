// Linear attention. First computes each row's norms and angles, then runs one task for each head of each segment.
#include <algorithm>

#include "engine/cpu/attention.h"
#include "engine/cpu/grid_angles.h"
#include "engine/cpu/views.h"

namespace longtake::cpu {

void AttendLinear(Context& context, const LinearAttentionArgs& args) {
  const int d = args.head_dim;
  const int64_t D = int64_t{args.heads} * d, rows = args.qkv.rows;
  const ConstMat q = args.qkv.Cols(0, D), k = args.qkv.Cols(D, D), v = args.qkv.Cols(2 * D, D);
  const bool norm = args.q_weight != nullptr;
  Workspace::Scope scope(context.workspace);
  const GridAngles angles = {.cosines = scope.TakeFloats(rows * d), .sines = scope.TakeFloats(rows * d)};
  float* const q_inverse = norm ? scope.TakeFloats(rows) : nullptr;
  float* const k_inverse = norm ? scope.TakeFloats(rows) : nullptr;
  const Workspace::PerThread scratches = scope.TakePerThread(LinearAttentionScratchFloats(d) * sizeof(float));

  FillAngles(
      context, args.segments, [](const LinearAttentionSegment& s) -> const Segment& { return s.tokens; }, d, angles);
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
    g.key_gate = args.key_gate.data == nullptr
                     ? nullptr
                     : static_cast<const float*>(args.key_gate.data) + first * args.key_gate.stride + head;
    g.key_gate_stride = args.key_gate.stride;
    g.epsilon = args.epsilon();
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
