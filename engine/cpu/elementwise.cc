#include "engine/cpu/families.h"

namespace longtake::cpu {
namespace {

class CpuElementwiseOps final : public ElementwiseOps {
 public:
  explicit CpuElementwiseOps(Context& context) : ElementwiseOps(&context), context_(context) {}

 private:
  void DoConvert(ConstMat x, Mat y) override { DoActivate(x, Activation::kNone, y); }

  void DoActivate(ConstMat x, Activation activation, Mat y) override {
    context_.ForRows(x.rows, x.cols, [&](int64_t first, int64_t n, int) {
      context_.kernels.activate(x.Rows(first, n), activation, y.Rows(first, n));
    });
  }

  void DoAddRow(ConstMat x, const float* row, Mat y) override {
    context_.ForRows(x.rows, x.cols, [&](int64_t first, int64_t n, int) {
      context_.kernels.add_row(x.Rows(first, n), row, y.Rows(first, n));
    });
  }

  Context& context_;
};

}  // namespace

std::unique_ptr<ElementwiseOps> MakeElementwiseOps(Context& context) {
  return std::make_unique<CpuElementwiseOps>(context);
}

}  // namespace longtake::cpu
