#include "engine/cuda/kernels/hybrid.h"

#include <cstdint>
#include <vector>

#include "engine/cuda/families.h"
#include "engine/cuda/kernels/norms.h"
#include "engine/cuda/segment_tables.h"

namespace longtake::cuda {
namespace {

static_assert(kMostDepthSources >= DepthAttentionArgs::kMostSources);

class CudaHybrid final : public HybridOps {
 public:
  CudaHybrid(FamilyContext* family, StreamState& state) : HybridOps(family), state_(state) {}

 private:
  void DoDepthAttention(const DepthAttentionArgs& args) override {
    std::vector<DepthSource> sources;
    for (const ConstMat& m : args.sources) sources.push_back({static_cast<const float*>(m.data), m.stride});
    RunDepthAttention(state_.launcher(), state_.staging().Put(sources), static_cast<int>(sources.size()), args.weight,
                      args.eps, args.out);
  }

  void DoRotateOnGrid(const RotateOnGridArgs& args) override {
    Context& context = *state_.context;
    const int64_t D = int64_t{args.heads} * args.head_dim, rows = args.qkv.rows;
    auto* inverse = context.Take<float>(ScratchPiece::kAttention2, 2 * rows);
    RunInverseRms(state_.launcher(), args.qkv.Cols(0, D), args.norm_eps, inverse);
    RunInverseRms(state_.launcher(), args.qkv.Cols(D, D), args.norm_eps, inverse + rows);
    const SegmentTables tables(context, args.segments, kRotatedTokens, [](const Segment& s) { return s.rows(); });
    RunRotateOnGrid(state_.launcher(), {.qkv = RowsOf(args.qkv),
                                        .q_weight = args.q_weight,
                                        .k_weight = args.k_weight,
                                        .q_inverse = inverse,
                                        .k_inverse = inverse + rows,
                                        .heads = args.heads,
                                        .head_dim = args.head_dim,
                                        .rotary = state_.rotary.Axes(context, args.head_dim, args.rope_max_positions),
                                        .segments = state_.staging().Put(tables.segments),
                                        .shares = state_.staging().Put(tables.shares),
                                        .share_count = tables.share_count(),
                                        .out = RowsOf(args.out)});
  }

  void DoGateHeads(const GateHeadsArgs& args) override {
    RunGateHeads(state_.launcher(), args.x, args.gate, args.weight, args.norm_eps, args.head_dim, args.y);
  }

  void DoAddBranch(const AddBranchArgs& args) override {
    RunAddBranch(state_.launcher(), args.x, args.gate, args.gate_stride, state_.staging().PutKept(args.mod_row),
                 args.begins, args.stream, args.branch);
  }

  StreamState& state_;
};

}  // namespace

std::unique_ptr<HybridOps> MakeHybrid(FamilyContext* family, StreamState& state) {
  return std::make_unique<CudaHybrid>(family, state);
}

}  // namespace longtake::cuda
