#include "engine/cpu/families.h"

namespace longtake::cpu {
namespace {

class CpuNormOps final : public NormOps {
 public:
  explicit CpuNormOps(Context& context) : NormOps(&context), context_(context) {}

 private:
  void DoLayerNorm(const LayerNormArgs& args) override {
    context_.ForRows(args.x.rows, args.x.cols, [&](int64_t first, int64_t n, int) {
      NormRows rows = Rows(args.x, args.y, first, n);
      rows.eps = args.eps;
      rows.shift = args.shift;
      rows.scale = args.scale;
      rows.mod_stride = args.mod_stride;
      rows.mod_row = args.shift == nullptr ? nullptr : args.mod_row.data() + first;
      context_.kernels.layer_norm(rows);
    });
  }

  void DoRmsNorm(const RmsNormArgs& args) override {
    context_.ForRows(args.x.rows, args.x.cols, [&](int64_t first, int64_t n, int) {
      NormRows rows = Rows(args.x, args.y, first, n);
      rows.eps = args.eps;
      rows.weight = args.weight;
      rows.weight_offset = args.weight_offset;
      rows.residual = args.residual;
      context_.kernels.rms_norm(rows);
    });
  }

  void DoChannelNorm(const ChannelNormArgs& args) override {
    context_.ForRows(args.x.rows, args.x.cols, [&](int64_t first, int64_t n, int) {
      NormRows rows = Rows(args.x, args.y, first, n);
      rows.weight = args.gamma;
      rows.eps = args.eps;
      rows.silu = args.silu;
      context_.kernels.channel_norm(rows);
    });
  }

  static NormRows Rows(const ConstMat& x, const Mat& y, int64_t first, int64_t n) {
    NormRows rows = {};
    rows.x = x.Rows(first, n);
    rows.y = y.Rows(first, n);
    return rows;
  }

  Context& context_;
};

}  // namespace

std::unique_ptr<NormOps> MakeNormOps(Context& context) { return std::make_unique<CpuNormOps>(context); }

}  // namespace longtake::cpu
