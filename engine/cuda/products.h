// Matrix products over packed weights of any number of rows: which product, and what stands before and behind it. Dense
// layers and the temporal convolution are made of these.
#ifndef LONGTAKE_ENGINE_CUDA_PRODUCTS_H_
#define LONGTAKE_ENGINE_CUDA_PRODUCTS_H_

#include "engine/cuda/context.h"
#include "engine/cuda/dense_plan.h"
#include "engine/cuda/matmul.h"
#include "engine/cuda/weights.h"
#include "engine/ops/epilogue.h"

namespace longtake::cuda {

class Products {
 public:
  Products(Context& context, MatMul& matmul) : context_(context), matmul_(matmul) {}

  // y = Epilogue(x w^T + bias), x act [N, w.inputs()], aligned or not. `add`, act [N, outputs], if not null, is added
  // to the sums before the activation. Overwrites the scratch pieces kProduct, kOperand and kScales, so x may not lie
  // in them.
  void Run(const CudaKernel& w, const ConstMat& x, const Epilogue& e, const ConstMat* add, const Mat& y);
  // y = activation(x G^T) * (x U^T) of a gated kernel.
  void RunGated(const CudaKernel& w, const ConstMat& x, Activation activation, const Mat& y);

 private:
  // One panel of rows; `mod_row` is on the device.
  void RunPanel(const CudaKernel& w, const ConstMat& x, const Epilogue& e, const int32_t* mod_row, const ConstMat* add,
                const Mat& y);
  // x as the product reads it: as it is, or padded or quantized into scratch.
  Operand Prepare(const CudaKernel& w, const ConstMat& x, Before before);

  Context& context_;
  MatMul& matmul_;
};

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_PRODUCTS_H_
