// Softmax attention: packs keys and values of each head, then one task for each block of queries and head.
#include <algorithm>
#include <vector>

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
  // Where the panels of a segment's head of keys are.
  struct Panels {
    std::byte *keys, *values;
  };
  Panels PanelsOf(size_t segment, int64_t kv_head) const;
  int64_t KeyBytes(int64_t key_rows) const { return KeyElements(key_rows, d_, type_, kernels_) * BytesOf(type_); }
  int64_t ValueBytes(int64_t key_rows) const { return ValueElements(key_rows, d_, type_, kernels_) * BytesOf(type_); }

  // Rows of one head, positions from `position` on, rotated and in the activation type at `to`; `x` itself where it is
  // so already.
  ConstMat Rotated(const ConstMat& x, int64_t position, void* to) const;
  ConstMat Converted(const ConstMat& x, void* to) const;

  void Pack(int64_t task, int thread);
  void Attend(int64_t task, int thread);

  Context& context_;
  const SoftmaxAttentionArgs& args_;
  const KernelTable& kernels_;
  const DType type_;  // of the products: float32 inputs are rounded to it once, after the rotation
  const int d_;
  const RotaryTable* angles_ = nullptr;
  std::byte* panels_ = nullptr;
};

Attention::Attention(Context& context, const SoftmaxAttentionArgs& args)
    : context_(context), args_(args), kernels_(context.kernels), type_(context.activation_type), d_(args.head_dim) {
  int64_t bytes = 0, longest = 0;
  for (const SoftmaxAttentionSegment& s : args.segments) {
    longest = std::max(longest, s.rows);
    bytes += KeyBytes(s.key_rows) + ValueBytes(s.key_rows);
  }
  if (args.rope_theta != 0.f) angles_ = &context.rotary.Halves(d_, args.rope_theta, longest);
  panels_ = context.workspace.Shared(bytes * args.kv_heads);
}

// A segment's heads lie one after the other.
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
  const int64_t at = position * angles_->width;
  kernels_.rotate_halves(x, angles_->cosines.data() + at, angles_->sines.data() + at, rotated);
  return rotated;
}

ConstMat Attention::Converted(const ConstMat& x, void* to) const {
  if (x.dtype == type_) return x;
  const Mat converted = MakeMat(to, type_, x.rows, d_);
  kernels_.activate(x, Activation::kNone, converted);
  return converted;
}

void Attention::Pack(int64_t task, int thread) {
  const size_t segment = task / args_.kv_heads;
  const SoftmaxAttentionSegment& s = args_.segments[segment];
  const int64_t kv = task % args_.kv_heads;
  const Panels to = PanelsOf(segment, kv);
  std::byte* const rows = context_.workspace.OfThread(thread);
  const ConstMat qkv = args_.qkv.Rows(s.first_row, s.key_rows);
  PackKeys(Rotated(qkv.Cols((args_.heads + kv) * d_, d_), 0, rows), kernels_, to.keys);
  PackValues(Converted(qkv.Cols((args_.heads + args_.kv_heads + kv) * d_, d_), rows), kernels_, to.values);
}

void Attention::Attend(int64_t task, int thread) {
  const QueryBlock block = FindQueryBlock(args_.segments, task / args_.heads);
  const int64_t head = task % args_.heads;
  const SoftmaxAttentionSegment& s = args_.segments[block.segment];
  const Panels panels = PanelsOf(block.segment, head / (args_.heads / args_.kv_heads));
  const int64_t first = s.first_row + block.first;
  float* const scratch = context_.workspace.FloatsOfThread(thread);
  AttentionBlock g;
  g.q =
      Rotated(args_.qkv.Rows(first, block.rows).Cols(head * d_, d_), block.first, scratch + AttentionScratchFloats(d_));
  g.k_panels = panels.keys;
  g.v_panels = panels.values;
  g.keys = s.key_rows;
  g.scale = args_.scale;
  g.soft_cap = args_.soft_cap;
  g.causal = args_.causal;
  g.window = args_.window;
  g.first_query = block.first;
  g.out = args_.out.Rows(first, block.rows).Cols(head * d_, d_);
  g.scratch = scratch;
  (type_ == DType::kF32 ? kernels_.attention_f32 : kernels_.attention_bf16)(g);
}

void Attention::Run() {
  int64_t most_keys = 0;
  for (const SoftmaxAttentionSegment& s : args_.segments) most_keys = std::max(most_keys, s.key_rows);
  const bool copies = angles_ != nullptr || args_.qkv.dtype != type_;
  if (copies) context_.workspace.KeepPerThread(most_keys * d_ * SizeOf(type_));
  context_.ParallelFor(static_cast<int64_t>(args_.segments.size()) * args_.kv_heads,
                       [this](int64_t task, int thread) { Pack(task, thread); });
  context_.workspace.KeepPerThread((AttentionScratchFloats(d_) + kAttentionRows * RoundUp(d_, 16)) * sizeof(float));
  context_.ParallelFor(AllQueryBlocks(args_.segments) * args_.heads,
                       [this](int64_t task, int thread) { Attend(task, thread); });
}

}  // namespace

void AttendSoftmax(Context& context, const SoftmaxAttentionArgs& args) { Attention(context, args).Run(); }

}  // namespace longtake::cpu
