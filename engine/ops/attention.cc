#include "engine/ops/attention.h"

#include <algorithm>

#include "engine/ops/check.h"

namespace longtake {
namespace {

template <typename Segments>
bool AllWithin(const Segments& segments, int64_t rows) {
  return std::ranges::all_of(
      segments, [&](const auto& s) { return s.first_row >= 0 && s.rows >= 0 && s.first_row + s.rows <= rows; });
}

}  // namespace

void AttentionOps::LinearAttention(const LinearAttentionArgs& args) {
  constexpr const char* kName = "LinearAttention";
  const int64_t width = int64_t{args.heads} * args.head_dim;
  Require(IsActOrFloat(args.qkv.dtype) && args.qkv.cols == 3 * width, kName, "qkv is act or f32 [N, 3D]");
  Require(IsAct(args.out.dtype) && args.out.cols == width, kName, "out is act [N, D]");
  Require(args.qkv.rows == args.out.rows, kName, "qkv and out have equally many rows");
  Require((args.q_weight == nullptr) == (args.k_weight == nullptr), kName, "q and k have norms together");
  if (args.key_gate.data != nullptr) {
    Require(args.key_gate.dtype == DType::kF32 && args.key_gate.rows == args.qkv.rows &&
                args.key_gate.cols == args.heads,
            kName, "key_gate is f32 [N, heads]");
  }
  for (const LinearAttentionSegment& s : args.segments) {
    Require(s.tokens.first_row >= 0 && s.tokens.first_row + s.tokens.rows() <= args.qkv.rows, kName,
            "segments lie within the rows");
    Require(s.tokens.first_frame + s.tokens.frames <= args.rope_max_positions &&
                s.tokens.height <= args.rope_max_positions && s.tokens.width <= args.rope_max_positions,
            kName, "positions are below rope_max_positions");
    Require((s.S_out == nullptr) == (s.z_out == nullptr), kName, "S and z are stored together");
  }
  const ProfilerScope scope(profiler(), kName);
  DoLinearAttention(args);
}

void AttentionOps::PrepareCrossKv(const PrepareCrossKvArgs& args) {
  constexpr const char* kName = "PrepareCrossKv";
  const int64_t width = int64_t{args.heads} * args.head_dim;
  Require(IsAct(args.k.dtype) && args.k.cols == width, kName, "k is act [tokens, h*d]");
  Require(IsAct(args.v.dtype) && args.v.cols == width, kName, "v is act [tokens, h*d]");
  Require(args.k.rows == args.v.rows, kName, "k and v have equally many rows");
  const ProfilerScope scope(profiler(), kName);
  DoPrepareCrossKv(args);
}

void AttentionOps::CrossAttention(const CrossAttentionArgs& args) {
  constexpr const char* kName = "CrossAttention";
  const int64_t width = int64_t{args.heads} * args.head_dim;
  Require(IsAct(args.q.dtype) && args.q.cols == width, kName, "q is act [N, h*d]");
  Require(IsAct(args.out.dtype) && args.out.cols == width, kName, "out is act [N, h*d]");
  Require(args.q.rows == args.out.rows, kName, "q and out have equally many rows");
  Require(AllWithin(args.segments, args.q.rows), kName, "segments lie within the rows");
  const ProfilerScope scope(profiler(), kName);
  DoCrossAttention(args);
}

void AttentionOps::SoftmaxAttention(const SoftmaxAttentionArgs& args) {
  constexpr const char* kName = "SoftmaxAttention";
  Require(args.kv_heads > 0 && args.heads % args.kv_heads == 0, kName, "heads are a multiple of kv_heads");
  Require(IsActOrFloat(args.qkv.dtype) && args.qkv.cols == int64_t{args.heads + 2 * args.kv_heads} * args.head_dim,
          kName, "qkv is act or f32 [N, (heads + 2 kv_heads) head_dim]");
  Require(IsAct(args.out.dtype) && args.out.cols == int64_t{args.heads} * args.head_dim, kName,
          "out is act [N, heads head_dim]");
  Require(args.qkv.rows == args.out.rows, kName, "qkv and out have equally many rows");
  Require(AllWithin(args.segments, args.qkv.rows), kName, "segments lie within the rows");
  Require(std::ranges::all_of(args.segments, [](const auto& s) { return s.key_rows <= s.rows; }), kName,
          "key_rows is at most rows");
  const ProfilerScope scope(profiler(), kName);
  DoSoftmaxAttention(args);
}

}  // namespace longtake
