#include <cstdint>
#include <cstring>
#include <memory>

#include "engine/reference/families.h"
#include "engine/reference/kernel.h"

namespace longtake::reference {
namespace {

class Elementwise final : public ElementwiseOps {
 public:
  using ElementwiseOps::ElementwiseOps;

 private:
  // A plain copy, because the activation type is f32.
  void DoConvert(ConstMat x, Mat y) override {
    for (int64_t n = 0; n < x.rows; ++n) std::memcpy(Row(y, n), Row(x, n), x.cols * sizeof(float));
  }

  void DoActivate(ConstMat x, Activation activation, Mat y) override {
    for (int64_t n = 0; n < x.rows; ++n) {
      for (int64_t i = 0; i < x.cols; ++i) {
        Row(y, n)[i] = static_cast<float>(Activated<double>(activation, Row(x, n)[i]));
      }
    }
  }

  void DoAddRow(ConstMat x, const float* row, Mat y) override {
    for (int64_t n = 0; n < x.rows; ++n) {
      for (int64_t i = 0; i < x.cols; ++i) Row(y, n)[i] = Row(x, n)[i] + row[i];
    }
  }
};

}  // namespace

std::unique_ptr<ElementwiseOps> MakeElementwiseOps(FamilyContext* context) {
  return std::make_unique<Elementwise>(context);
}

}  // namespace longtake::reference
