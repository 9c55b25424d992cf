// The attention family, and cross attention, whose keys and values a prompt prepares once.
#include "engine/cpu/attention.h"

#include <cmath>

#include "engine/cpu/families.h"
#include "engine/cpu/panels.h"
#include "engine/cpu/views.h"

namespace longtake::cpu {
namespace {

class CpuAttentionOps final : public AttentionOps {
 public:
  explicit CpuAttentionOps(Context& context) : AttentionOps(&context), context_(context) {}

  // Layout: of each head its keys' panels, then its values' panels.
  size_t CrossKvBytes(int64_t tokens, int heads, int head_dim) const override {
    return heads * (KeyBytes(tokens, head_dim) + ValueBytes(tokens, head_dim));
  }

 private:
  void DoLinearAttention(const LinearAttentionArgs& args) override { AttendLinear(context_, args); }
  void DoSoftmaxAttention(const SoftmaxAttentionArgs& args) override { AttendSoftmax(context_, args); }
  void DoPrepareCrossKv(const PrepareCrossKvArgs& args) override;
  void DoCrossAttention(const CrossAttentionArgs& args) override;

  int64_t KeyBytes(int64_t tokens, int head_dim) const {
    const DType type = context_.activation_type;
    return KeyElements(tokens, head_dim, type, context_.kernels) * BytesOf(type);
  }
  int64_t ValueBytes(int64_t tokens, int head_dim) const {
    const DType type = context_.activation_type;
    return ValueElements(tokens, head_dim, type, context_.kernels) * BytesOf(type);
  }

  Context& context_;
};

void CpuAttentionOps::DoPrepareCrossKv(const PrepareCrossKvArgs& args) {
  const int d = args.head_dim;
  Workspace::Scope scope(context_.workspace);
  ConstMat keys = args.k;
  if (args.k_weight != nullptr) {
    const Mat normed = scope.TakeMat(args.k.dtype, args.k.rows, args.k.cols);
    context_.ForRows(args.k.rows, args.k.cols, [&](int64_t first, int64_t n, int) {
      NormRows rows = {};
      rows.x = args.k.Rows(first, n);
      rows.y = normed.Rows(first, n);
      rows.eps = args.norm_eps;
      rows.weight = args.k_weight;
      context_.kernels.rms_norm(rows);
    });
    keys = normed;
  }
  const int64_t key_bytes = KeyBytes(args.k.rows, d), head_bytes = key_bytes + ValueBytes(args.k.rows, d);
  context_.ParallelFor(args.heads, [&](int64_t head, int) {
    std::byte* to = args.out + head * head_bytes;
    PackKeys(keys.Cols(head * d, d), 0, context_.kernels, to);
    PackValues(args.v.Cols(head * d, d), 0, args.v.rows, context_.kernels, to + key_bytes);
  });
}

void CpuAttentionOps::DoCrossAttention(const CrossAttentionArgs& args) {
  const DType type = args.q.dtype;
  const int d = args.head_dim;
  const auto attend = type == DType::kF32 ? context_.kernels.attention_f32 : context_.kernels.attention_bf16;
  const bool norm = args.q_weight != nullptr;
  Workspace::Scope scope(context_.workspace);
  float* const inverse = norm ? scope.TakeFloats(args.q.rows) : nullptr;
  if (norm) {
    context_.ForRows(args.q.rows, args.q.cols, [&](int64_t first, int64_t n, int) {
      context_.kernels.inverse_rms(args.q.Rows(first, n), args.norm_eps, inverse + first);
    });
  }
  const int64_t scratch_floats = AttentionScratchFloats(d);
  const Workspace::PerThread scratches =
      scope.TakePerThread(scratch_floats * sizeof(float) + (norm ? kAttentionRows * d * SizeOf(type) : 0));
  context_.ParallelFor(AllQueryBlocks(args.segments) * args.heads, [&](int64_t task, int thread) {
    const QueryBlock block = FindQueryBlock(args.segments, task / args.heads);
    const int64_t head = task % args.heads;
    const CrossAttentionSegment& s = args.segments[block.segment];
    const int64_t first = s.first_row + block.first;
    float* const scratch = scratches.floats_of(thread);
    ConstMat q = args.q.Rows(first, block.rows).Cols(head * d, d);
    if (norm) {
      const Mat normed = MakeMat(static_cast<void*>(scratch + scratch_floats), type, block.rows, d);
      context_.kernels.scale_rows(q, inverse + first, args.q_weight + head * d, normed);
      q = normed;
    }
    const int64_t key_bytes = KeyBytes(s.kv.tokens, d);
    const std::byte* panels = s.kv.data + head * (key_bytes + ValueBytes(s.kv.tokens, d));
    AttentionBlock g = {};
    g.q = q;
    g.k_panels = panels;
    g.v_panels = panels + key_bytes;
    g.keys = s.kv.tokens;
    g.scale = 1.f / std::sqrt(static_cast<float>(d));
    g.out = args.out.Rows(first, block.rows).Cols(head * d, d);
    g.scratch = scratch;
    attend(g);
  });
}

}  // namespace

std::unique_ptr<AttentionOps> MakeAttentionOps(Context& context) { return std::make_unique<CpuAttentionOps>(context); }

}  // namespace longtake::cpu
