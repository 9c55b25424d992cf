#include <array>

#include "engine/cuda/families.h"
#include "engine/cuda/kernels/frames.h"
#include "engine/cuda/kernels/grid.h"
#include "engine/cuda/segment_tables.h"

namespace longtake::cuda {
namespace {

PatchLaunch Patches(Context& context, const SegmentTables& tables, int channels, const std::array<int, 3>& patch) {
  return {.channels = channels,
          .pt = patch[0],
          .ph = patch[1],
          .pw = patch[2],
          .segments = context.staging().Put(tables.segments),
          .shares = context.staging().Put(tables.shares),
          .share_count = tables.share_count()};
}

class CudaLatents final : public LatentOps {
 public:
  CudaLatents(FamilyContext* family, StreamState& state) : LatentOps(family), state_(state) {}

 private:
  void DoPatchify(const PatchifyArgs& args) override {
    SegmentTables tables = RowTables(args.segments);
    for (size_t i = 0; i < args.segments.size(); ++i) tables.segments[i].in = args.latents[i];
    RunPatchify(state_.launcher(), Patches(*state_.context, tables, args.channels, args.patch), args.tokens);
  }
  void DoUnpatchify(const UnpatchifyArgs& args) override {
    SegmentTables tables = RowTables(args.segments);
    for (size_t i = 0; i < args.segments.size(); ++i) tables.segments[i].out = args.latents[i];
    RunUnpatchify(state_.launcher(), Patches(*state_.context, tables, args.channels, args.patch), args.tokens);
  }
  void DoLatentsToFrame(const LatentsToFrameArgs& args) override {
    const int64_t pixels = args.frame.rows;
    RunLatentsToFrame(state_.launcher(), args.latents + args.t * pixels, args.frames * pixels,
                      state_.staging().Put(args.mean), state_.staging().Put(args.std), args.frame);
  }
  void DoFrameToLatents(const FrameToLatentsArgs& args) override {
    const int64_t pixels = args.frame.rows;
    RunFrameToLatents(state_.launcher(), args.frame, static_cast<int>(args.mean.size()),
                      state_.staging().Put(args.mean), state_.staging().Put(args.std), args.frames * pixels,
                      args.latents + args.t * pixels);
  }
  void DoFrameToPlanar(const FrameToPlanarArgs& args) override {
    RunFrameToPlanar(state_.launcher(), args.frame, args.height, args.width, args.patch, args.planar);
  }
  void DoPlanarToFrame(const PlanarToFrameArgs& args) override {
    RunPlanarToFrame(state_.launcher(), args.planar, args.height, args.width, args.patch, args.frame);
  }
  void DoFrameToI420(const FrameToI420Args& args) override {
    RunFrameToI420(state_.launcher(), args.frame, args.height, args.width, args.patch, args.y, args.u, args.v);
  }

  SegmentTables RowTables(std::span<const Segment> segments) const {
    return {*state_.context, segments, kPatchRows, [](const Segment& s) { return s.rows(); }};
  }

  StreamState& state_;
};

}  // namespace

std::unique_ptr<LatentOps> MakeLatents(FamilyContext* family, StreamState& state) {
  return std::make_unique<CudaLatents>(family, state);
}

}  // namespace longtake::cuda
