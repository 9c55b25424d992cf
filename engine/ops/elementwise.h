// Operations on single elements.
#ifndef LONGTAKE_ENGINE_OPS_ELEMENTWISE_H_
#define LONGTAKE_ENGINE_OPS_ELEMENTWISE_H_

#include "engine/ops/epilogue.h"
#include "engine/ops/family.h"

namespace longtake {

class ElementwiseOps : public OperationFamily {
 public:
  using OperationFamily::OperationFamily;
  virtual ~ElementwiseOps() = default;

  // y = x, converted between f32 and act; x and y have the same shape.
  void Convert(ConstMat x, Mat y);
  // y = activation(x); x and y are f32 or act and have the same shape.
  void Activate(ConstMat x, Activation activation, Mat y);
  // y[r] = x[r] + row; x and y f32 [R, C], row f32 [C].
  void AddRow(ConstMat x, const float* row, Mat y);

 private:
  virtual void DoConvert(ConstMat x, Mat y) = 0;
  virtual void DoActivate(ConstMat x, Activation activation, Mat y) = 0;
  virtual void DoAddRow(ConstMat x, const float* row, Mat y) = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_OPS_ELEMENTWISE_H_
