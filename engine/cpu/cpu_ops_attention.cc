// Attention: prepares rows, rotary tables and panels, and cuts the work into tasks of one head each.
#include <cmath>
#include <cstring>

#include "engine/cpu/cpu_ops_impl.h"

namespace longtake::cpu {
namespace {

const void* Offset(const void* p, int64_t elements, Elem type) {
  return static_cast<const std::byte*>(p) + elements * ElemBytes(type);
}
void* Offset(void* p, int64_t elements, Elem type) { return static_cast<std::byte*>(p) + elements * ElemBytes(type); }

}  // namespace

const AngleTable& CpuOps::PairTable(int width, int64_t positions) {
  for (const auto& t : pair_tables_) {
    if (t->width == width && t->positions >= positions) return *t;
  }
  auto t = std::make_unique<AngleTable>();
  t->width = width;
  t->positions = positions;
  t->cosines.resize(positions * width);
  t->sines.resize(positions * width);
  for (int64_t p = 0; p < positions; ++p) {
    for (int i = 0; i + 1 < width; i += 2) {
      const double angle = static_cast<double>(p) / std::pow(10000.0, static_cast<double>(i) / width);
      const int64_t at = p * width + i;
      t->cosines[at] = t->cosines[at + 1] = static_cast<float>(std::cos(angle));
      t->sines[at + 1] = static_cast<float>(std::sin(angle));
      t->sines[at] = -t->sines[at + 1];
    }
  }
  return *pair_tables_.emplace_back(std::move(t));
}

const AngleTable& CpuOps::HalfTable(int head_dim, float theta, int64_t positions) {
  for (const auto& t : half_tables_) {
    if (t->width == head_dim / 2 && t->theta == double{theta} && t->positions >= positions) return *t;
  }
  auto t = std::make_unique<AngleTable>();
  t->width = head_dim / 2;
  t->theta = theta;
  t->positions = RoundUp(positions, 1024);
  t->cosines.resize(t->positions * t->width);
  t->sines.resize(t->positions * t->width);
  for (int i = 0; i < t->width; ++i) {
    // Frequency and angle in float32, as the definition has them.
    const float frequency = static_cast<float>(1.0 / std::pow(static_cast<double>(theta), 2.0 * i / head_dim));
    for (int64_t p = 0; p < t->positions; ++p) {
      const float angle = static_cast<float>(p) * frequency;
      t->cosines[p * t->width + i] = static_cast<float>(std::cos(double{angle}));
      t->sines[p * t->width + i] = static_cast<float>(std::sin(double{angle}));
    }
  }
  return *half_tables_.emplace_back(std::move(t));
}

void CpuOps::LinearAttention(const LinearAttentionArgs& args) {
  const int d = args.head_dim;
  const int64_t D = int64_t{args.heads} * d, rows = args.qkv.rows;
  const int dh = 2 * (d / 6), dt = d - 2 * dh;
  const AngleTable& table_t = PairTable(dt, args.rope_max_positions);
  const AngleTable& table_hw = PairTable(dh, args.rope_max_positions);

  // The norms run over all heads: once a row, before the heads.
  float* inverse = context_.shared.Floats(2 * rows + 2 * rows * d);
  float* cosines = inverse + 2 * rows;
  float* sines = cosines + rows * d;
  ForRows(rows, 2 * D, [&](int64_t first, int64_t n, int) {
    Rows x = RowsOf(args.qkv, first);
    if (args.q_weight != nullptr) context_.table.inverse_rms(x, n, D, args.norm_eps, inverse + first);
    x.data = Offset(x.data, D, x.type);
    if (args.k_weight != nullptr) context_.table.inverse_rms(x, n, D, args.norm_eps, inverse + rows + first);
  });

  // Each row's angles, for all heads: axes t, h, w of widths dt, dh, dh behind one another. One loop over the lines of
  // all segments: a loop a segment would cost a meeting of the threads for each session of a batch, in each layer.
  int64_t lines = 0;
  for (const LinearAttentionSegment& segment : args.segments) {
    lines += int64_t{segment.tokens.frames} * segment.tokens.height;
  }
  constexpr int64_t kLines = 8;  // of a task: some microseconds
  context_.pool.ParallelFor((lines + kLines - 1) / kLines, [&](int64_t task, int) {
    size_t at_segment = 0;
    int64_t line = task * kLines;
    const auto lines_of = [&] {
      return int64_t{args.segments[at_segment].tokens.frames} * args.segments[at_segment].tokens.height;
    };
    for (int64_t left = std::min(kLines, lines - line); left > 0; --left, ++line) {
      while (line >= lines_of()) {
        line -= lines_of();
        ++at_segment;
      }
      const Segment& s = args.segments[at_segment].tokens;
      const int64_t frame = s.first_frame + line / s.height, y = line % s.height;
      for (int64_t x = 0; x < s.width; ++x) {
        const int64_t at = (s.first_row + line * s.width + x) * d;
        auto fill = [&](const std::vector<float>& t, const std::vector<float>& hw, float* to) {
          std::copy_n(t.data() + frame * dt, dt, to);
          std::copy_n(hw.data() + y * dh, dh, to + dt);
          std::copy_n(hw.data() + x * dh, dh, to + dt + dh);
        };
        fill(table_t.cosines, table_hw.cosines, cosines + at);
        fill(table_t.sines, table_hw.sines, sines + at);
      }
    }
  });

  size_t most = 0;
  for (const auto& s : args.segments) most = std::max(most, s.history.size());
  const size_t threads = static_cast<size_t>(context_.pool.threads());
  if (history_.size() < most * threads) history_.resize(most * threads);
  const Elem type = ElemOf(args.qkv.dtype), out_type = ElemOf(args.out.dtype);
  context_.pool.ParallelFor(static_cast<int64_t>(args.segments.size()) * args.heads, [&](int64_t task, int thread) {
    const LinearAttentionSegment& s = args.segments[task / args.heads];
    const int64_t head = task % args.heads, S_at = head * d * d, z_at = head * d;
    LinearHistory* history = history_.data() + thread * most;
    for (size_t i = 0; i < s.history.size(); ++i) history[i] = {s.history[i].S + S_at, s.history[i].z + z_at};
    const int64_t first = s.tokens.first_row;
    const void* q = Offset(RowAt(args.qkv, first), z_at, type);
    LinearAttentionTask g;
    g.q = q;
    g.k = Offset(q, D, type);
    g.v = Offset(q, 2 * D, type);
    g.type = type;
    g.out_type = out_type;
    g.stride = args.qkv.stride;
    g.rows = s.tokens.rows();
    g.head_dim = d;
    g.q_inverse_rms = inverse + first;
    g.k_inverse_rms = inverse + rows + first;
    g.q_weight = args.q_weight == nullptr ? nullptr : args.q_weight + z_at;
    g.k_weight = args.k_weight == nullptr ? nullptr : args.k_weight + z_at;
    g.cosines = cosines + first * d;
    g.sines = sines + first * d;
    g.history = history;
    g.history_count = static_cast<int>(s.history.size());
    g.S_out = s.S_out == nullptr ? nullptr : s.S_out + S_at;
    g.z_out = s.z_out == nullptr ? nullptr : s.z_out + z_at;
    g.store_sum = s.store_sum;
    g.out = Offset(RowAt(args.out, first), z_at, out_type);
    g.out_stride = args.out.stride;
    g.scratch = context_.scratch[thread].Floats(LinearAttentionScratchFloats(d));
    context_.table.linear_attention(g);
  });
}

// Layout: of each head its keys' panels, then its values' panels.
size_t CpuOps::CrossKvBytes(int64_t tokens, int heads, int head_dim) const {
  return heads * ElemBytes(context_.type) *
         (KeyElements(tokens, head_dim, context_.type, context_.table) +
          ValueElements(tokens, head_dim, context_.type, context_.table));
}

void CpuOps::PrepareCrossKv(ConstMat k, ConstMat v, const float* k_weight, float norm_eps, int heads, int head_dim,
                            void* out) {
  const Elem type = context_.type;
  const int64_t width = int64_t{heads} * head_dim;
  ConstMat keys = k;
  if (k_weight != nullptr) {
    const Mat normed = MakeMat(context_.shared.Get(k.rows * width * ElemBytes(type)), activation_type(), k.rows, width);
    RmsNorm(k, k_weight, 0.f, norm_eps, false, normed);
    keys = normed;
  }
  const int64_t key_elements = KeyElements(k.rows, head_dim, type, context_.table);
  const int64_t elements = key_elements + ValueElements(k.rows, head_dim, type, context_.table);
  context_.pool.ParallelFor(heads, [&](int64_t head, int) {
    void* to = Offset(out, head * elements, type);
    PackKeys(Offset(keys.data, head * head_dim, type), keys.stride, k.rows, head_dim, type, context_.table, to);
    PackValues(Offset(v.data, head * head_dim, type), v.stride, k.rows, head_dim, type, context_.table,
               Offset(to, key_elements, type));
  });
}

void CpuOps::CrossAttention(const CrossAttentionArgs& args) {
  const Elem type = context_.type;
  const int d = args.head_dim;
  const int64_t width = int64_t{args.heads} * d;
  const auto attend = type == Elem::kF32 ? context_.table.attention_f32 : context_.table.attention_bf16;
  float* inverse = context_.shared.Floats(args.q.rows);
  if (args.q_weight != nullptr) {
    ForRows(args.q.rows, width, [&](int64_t first, int64_t n, int) {
      context_.table.inverse_rms(RowsOf(args.q, first), n, width, args.norm_eps, inverse + first);
    });
  }
  int64_t blocks = 0;
  for (const auto& s : args.segments) blocks += (s.rows + kAttentionRows - 1) / kAttentionRows;
  const int64_t scratch = AttentionScratchFloats(d);
  context_.pool.ParallelFor(blocks * args.heads, [&](int64_t task, int thread) {
    int64_t block = task / args.heads;
    const int64_t head = task % args.heads;
    size_t at = 0;
    for (int64_t own; block >= (own = (args.segments[at].rows + kAttentionRows - 1) / kAttentionRows); ++at)
      block -= own;
    const CrossAttentionSegment& s = args.segments[at];
    const int64_t first = s.first_row + block * kAttentionRows;
    const int n = static_cast<int>(std::min<int64_t>(kAttentionRows, s.first_row + s.rows - first));
    float* memory = context_.scratch[thread].Floats(scratch + kAttentionRows * RoundUp(d, 16));
    const int64_t key_elements = KeyElements(s.kv.tokens, d, type, context_.table);
    const int64_t elements = key_elements + ValueElements(s.kv.tokens, d, type, context_.table);
    AttentionBlock g;
    Rows q = RowsOf(args.q, first);
    q.data = Offset(q.data, head * d, type);
    if (args.q_weight != nullptr) {
      const MutRows normed = {memory + scratch, type, d};
      context_.table.scale_rows(q, n, d, inverse + first, args.q_weight + head * d, normed);
      q = {normed.data, normed.type, normed.stride};
    }
    g.q = q.data;
    g.q_stride = q.stride;
    g.rows = n;
    g.head_dim = d;
    g.k_panels = Offset(s.kv.data, head * elements, type);
    g.v_panels = Offset(g.k_panels, key_elements, type);
    g.keys = s.kv.tokens;
    g.scale = 1.f / std::sqrt(static_cast<float>(d));
    g.soft_cap = 0.f;
    g.causal = false;
    g.window = 0;
    g.first_query = 0;
    g.out = {Offset(RowAt(args.out, first), head * d, type), type, args.out.stride};
    g.scratch = memory;
    attend(g);
  });
}

void CpuOps::SoftmaxAttention(const SoftmaxAttentionArgs& args) {
  // Products run in the activation type; wider inputs are rounded to it once, after the rotation.
  const Elem in = ElemOf(args.qkv.dtype), type = context_.type, out_type = ElemOf(args.out.dtype);
  const int d = args.head_dim;
  const auto attend = type == Elem::kF32 ? context_.table.attention_f32 : context_.table.attention_bf16;
  const bool rotate = args.rope_theta != 0.f;
  int64_t elements = 0, longest = 0;
  for (const auto& s : args.segments) {
    longest = std::max({longest, s.rows, s.key_rows});
    elements += KeyElements(s.key_rows, d, type, context_.table) + ValueElements(s.key_rows, d, type, context_.table);
  }
  const AngleTable* angles = rotate ? &HalfTable(d, args.rope_theta, longest) : nullptr;
  // Rows of one (segment, head), rotated, in the activation type: rows are positions from `position` on.
  auto rotate_rows = [&](const void* x, int64_t position, int64_t n, void* out) {
    for (int64_t r = 0; r < n; ++r) {
      const int64_t at = (position + r) * angles->width;
      context_.table.rotate_halves(Offset(x, r * args.qkv.stride, in), in, d / 2, angles->cosines.data() + at,
                                   angles->sines.data() + at, Offset(out, r * d, type), type);
    }
  };
  auto convert_rows = [&](const void* x, int64_t n, void* out) {
    context_.table.activate({x, in, args.qkv.stride}, n, d, Act::kNone, {out, type, d});
  };

  // Panels of all segments and heads of keys; a segment's heads behind one another.
  std::byte* const panels = context_.shared.Get(elements * args.kv_heads * ElemBytes(type));
  auto panels_of = [&](size_t segment, int64_t kv_head, int64_t* key_elements) {
    int64_t at = 0;
    for (size_t i = 0; i <= segment; ++i) {
      const int64_t keys = KeyElements(args.segments[i].key_rows, d, type, context_.table);
      const int64_t own = keys + ValueElements(args.segments[i].key_rows, d, type, context_.table);
      if (i == segment) {
        *key_elements = keys;
        return panels + (at + kv_head * own) * ElemBytes(type);
      }
      at += own * args.kv_heads;
    }
    return panels;
  };
  context_.pool.ParallelFor(static_cast<int64_t>(args.segments.size()) * args.kv_heads, [&](int64_t task, int thread) {
    const size_t segment = task / args.kv_heads;
    const SoftmaxAttentionSegment& s = args.segments[segment];
    const int64_t kv = task % args.kv_heads;
    int64_t key_elements = 0;
    std::byte* to = panels_of(segment, kv, &key_elements);
    const void* k = Offset(RowAt(args.qkv, s.first_row), int64_t{args.heads + kv} * d, in);
    const void* v = Offset(k, int64_t{args.kv_heads} * d, in);
    int64_t k_stride = args.qkv.stride, v_stride = args.qkv.stride;
    std::byte* const rows = context_.scratch[thread].Get(2 * s.key_rows * d * ElemBytes(type));
    if (rotate || in != type) {
      if (rotate) {
        rotate_rows(k, 0, s.key_rows, rows);
      } else {
        convert_rows(k, s.key_rows, rows);
      }
      k = rows;
      k_stride = d;
    }
    if (in != type) {
      void* narrow = Offset(rows, s.key_rows * d, type);
      convert_rows(v, s.key_rows, narrow);
      v = narrow;
      v_stride = d;
    }
    PackKeys(k, k_stride, s.key_rows, d, type, context_.table, to);
    PackValues(v, v_stride, s.key_rows, d, type, context_.table, to + key_elements * ElemBytes(type));
  });

  int64_t blocks = 0;
  for (const auto& s : args.segments) blocks += (s.rows + kAttentionRows - 1) / kAttentionRows;
  const int64_t scratch = AttentionScratchFloats(d);
  context_.pool.ParallelFor(blocks * args.heads, [&](int64_t task, int thread) {
    int64_t block = task / args.heads;
    const int64_t head = task % args.heads, kv = head / (args.heads / args.kv_heads);
    size_t at = 0;
    for (int64_t own; block >= (own = (args.segments[at].rows + kAttentionRows - 1) / kAttentionRows); ++at)
      block -= own;
    const SoftmaxAttentionSegment& s = args.segments[at];
    const int64_t query = block * kAttentionRows;
    const int n = static_cast<int>(std::min<int64_t>(kAttentionRows, s.rows - query));
    float* memory = context_.scratch[thread].Floats(scratch + kAttentionRows * RoundUp(d, 16));
    int64_t key_elements = 0;
    AttentionBlock g;
    g.q = Offset(RowAt(args.qkv, s.first_row + query), head * d, in);
    g.q_stride = args.qkv.stride;
    if (rotate || in != type) {
      if (rotate) {
        rotate_rows(g.q, query, n, memory + scratch);
      } else {
        convert_rows(g.q, n, memory + scratch);
      }
      g.q = memory + scratch;
      g.q_stride = d;
    }
    g.rows = n;
    g.head_dim = d;
    g.k_panels = panels_of(at, kv, &key_elements);
    g.v_panels = Offset(g.k_panels, key_elements, type);
    g.keys = s.key_rows;
    g.scale = args.scale;
    g.soft_cap = args.soft_cap;
    g.causal = args.causal;
    g.window = args.window;
    g.first_query = query;
    g.out = {Offset(RowAt(args.out, s.first_row + query), head * d, out_type), out_type, args.out.stride};
    g.scratch = memory;
    attend(g);
  });
}

}  // namespace longtake::cpu
