// Softmax attention. First packs the keys and values of each head, then runs one task for each block of queries and
// head.
#include <algorithm>

#include "engine/cpu/attention.h"
#include "engine/cpu/panels.h"
#include "engine/cpu/views.h"

namespace longtake::cpu {
namespace {

class Attention {
 public:
  Attention(Context& context, const SoftmaxAttentionArgs& args);
  void Run();

 private:
  // The panels of one head of a segment's keys and values.
  struct Panels {
    std::byte *keys, *values;
  };
  Panels PanelsOf(size_t segment, int64_t kv_head) const;
  int64_t KeyBytes(int64_t key_rows) const { return KeyElements(key_rows, d_, type_, kernels_) * BytesOf(type_); }
  int64_t ValueBytes(int64_t key_rows) const { return ValueElements(key_rows, d_, type_, kernels_) * BytesOf(type_); }

  // Returns rows of one head, rotated for positions from `position` on and converted to the activation type, in `to`;
  // returns `x` itself if nothing changes.
  ConstMat Rotated(const ConstMat& x, int64_t position, void* to) const;
  ConstMat Converted(const ConstMat& x, void* to) const;

  void Pack(int64_t task, int thread);
  void Attend(int64_t task, int thread);

  Context& context_;
  const SoftmaxAttentionArgs& args_;
  const KernelTable& kernels_;
  const DType type_;  // type of the products: float32 inputs are rounded to it once, after the rotation
  const int d_;
  const RotaryTable* angles_ = nullptr;
  const bool copies_;  // rows are rotated or converted into a copy
  Workspace::Scope scope_;
  std::byte* const panels_;
  const Workspace::PerThread scratches_;  // for a block of queries
  const Workspace::PerThread rows_;       // copies of keys, values or queries, if `copies_`
};

int64_t PackedBlocks(const SoftmaxAttentionSegment& s) { return (s.key_rows + kPackedRows - 1) / kPackedRows; }

int64_t PanelBytes(const KernelTable& kernels, DType type, const SoftmaxAttentionArgs& args) {
  int64_t elements = 0;
  for (const SoftmaxAttentionSegment& s : args.segments) {
    elements += KeyElements(s.key_rows, args.head_dim, type, kernels);
    elements += ValueElements(s.key_rows, args.head_dim, type, kernels);
  }
  return elements * BytesOf(type) * args.kv_heads;
}

Attention::Attention(Context& context, const SoftmaxAttentionArgs& args)
    : context_(context),
      args_(args),
      kernels_(context.kernels),
      type_(context.activation_type),
      d_(args.head_dim),
      copies_(args.rope_theta != 0.f || args.qkv.dtype != type_),
      scope_(context.workspace),
      panels_(scope_.Take(PanelBytes(kernels_, type_, args))),
      scratches_(scope_.TakePerThread(AttentionScratchFloats(d_) * sizeof(float))),
      rows_(scope_.TakePerThread(copies_ ? std::max<int64_t>(kPackedRows, kAttentionRows) * d_ * BytesOf(type_) : 0)) {
  if (args.rope_theta == 0.f) return;
  int64_t longest = 0;
  for (const SoftmaxAttentionSegment& s : args.segments) longest = std::max(longest, s.rows);
  angles_ = &context.rotary.Halves(d_, args.rope_theta, longest);
}

// The panels of a segment's heads follow each other.
Attention::Panels Attention::PanelsOf(size_t segment, int64_t kv_head) const {
  std::byte* at = panels_;
  for (size_t i = 0; i < segment; ++i) {
    const int64_t rows = args_.segments[i].key_rows;
    at += (KeyBytes(rows) + ValueBytes(rows)) * args_.kv_heads;
  }
  const int64_t rows = args_.segments[segment].key_rows;
  at += kv_head * (KeyBytes(rows) + ValueBytes(rows));
  return {at, at + KeyBytes(rows)};
}

ConstMat Attention::Rotated(const ConstMat& x, int64_t position, void* to) const {
  if (angles_ == nullptr) return Converted(x, to);
  const Mat rotated = MakeMat(to, type_, x.rows, d_);
  kernels_.rotate_halves(x, angles_->cosines(position), angles_->sines(position), rotated);
  return rotated;
}

ConstMat Attention::Converted(const ConstMat& x, void* to) const {
  if (x.dtype == type_) return x;
  const Mat converted = MakeMat(to, type_, x.rows, d_);
  kernels_.activate(x, Activation::kNone, converted);
  return converted;
}

// A task packs kPackedRows keys and values of one head.
void Attention::Pack(int64_t task, int thread) {
  size_t segment = 0;
  for (int64_t own; task >= (own = PackedBlocks(args_.segments[segment]) * args_.kv_heads); ++segment) task -= own;
  const SoftmaxAttentionSegment& s = args_.segments[segment];
  const int64_t kv = task % args_.kv_heads, first = task / args_.kv_heads * kPackedRows;
  const Panels to = PanelsOf(segment, kv);
  std::byte* const copy = rows_.of(thread);
  const ConstMat qkv = args_.qkv.Rows(s.first_row + first, std::min(kPackedRows, s.key_rows - first));
  const ConstMat keys = qkv.Cols((args_.heads + kv) * d_, d_);
  const ConstMat values = qkv.Cols((args_.heads + args_.kv_heads + kv) * d_, d_);
  PackKeys(Rotated(keys, first, copy), first, kernels_, to.keys);
  PackValues(Converted(values, copy), first, s.key_rows, kernels_, to.values);
}

void Attention::Attend(int64_t task, int thread) {
  const QueryBlock block = FindQueryBlock(args_.segments, task / args_.heads);
  const int64_t head = task % args_.heads;
  const SoftmaxAttentionSegment& s = args_.segments[block.segment];
  const Panels panels = PanelsOf(block.segment, head / (args_.heads / args_.kv_heads));
  const int64_t first = s.first_row + block.first;
  AttentionBlock g;
  g.q = Rotated(args_.qkv.Rows(first, block.rows).Cols(head * d_, d_), block.first, rows_.of(thread));
  g.k_panels = panels.keys;
  g.v_panels = panels.values;
  g.keys = s.key_rows;
  g.scale = args_.scale;
  g.soft_cap = args_.soft_cap;
  g.causal = args_.causal;
  g.window = args_.window;
  g.first_query = block.first;
  g.out = args_.out.Rows(first, block.rows).Cols(head * d_, d_);
  g.scratch = scratches_.floats_of(thread);
  (type_ == DType::kF32 ? kernels_.attention_f32 : kernels_.attention_bf16)(g);
}

void Attention::Run() {
  int64_t packed = 0;
  for (const SoftmaxAttentionSegment& s : args_.segments) packed += PackedBlocks(s);
  context_.ParallelFor(packed * args_.kv_heads, [this](int64_t task, int thread) { Pack(task, thread); });
  context_.ParallelFor(AllQueryBlocks(args_.segments) * args_.heads,
                       [this](int64_t task, int thread) { Attend(task, thread); });
}

}  // namespace

void AttendSoftmax(Context& context, const SoftmaxAttentionArgs& args) { Attention(context, args).Run(); }

}  // namespace longtake::cpu
