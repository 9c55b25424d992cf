#include "engine/cuda/products.h"

#include <algorithm>

#include "engine/cuda/kernels/dense.h"
#include "engine/cuda/kernels/pointwise.h"
#include "engine/quantization/formats.h"

namespace longtake::cuda {
namespace {

// Rows of one product. It bounds scratch (float32 sums of 13 440 outputs are 881 MB here) and is more than a pass of 15
// 600 tokens, the largest of the 2B model at 480p; every larger number of rows is cut into these.
constexpr int64_t kPanelRows = 16384;

// Whether all rows begin at 16 bytes.
bool Aligned(const void* data, int64_t stride, DType type) {
  return reinterpret_cast<uintptr_t>(data) % 16 == 0 && stride * static_cast<int64_t>(SizeOf(type)) % 16 == 0;
}
// Whether a product of bf16 weights reads x where it lies.
bool ReadsInPlace(const CudaKernel& w, const ConstMat& x) {
  return w.operand().type == OperandType::kBf16 && w.inputs() == w.stride() && Aligned(x.data, x.stride, DType::kBF16);
}

// Rows [first, first + count).
ConstMat RowRange(const ConstMat& m, int64_t first, int64_t count) {
  return {static_cast<const std::byte*>(m.data) + first * m.stride * static_cast<int64_t>(SizeOf(m.dtype)), m.dtype,
          count, m.cols, m.stride};
}

}  // namespace

Operand Products::Prepare(const CudaKernel& w, const ConstMat& x, Before before) {
  Launcher& launcher = context_.launcher();
  const int64_t columns = w.stride();
  if (before == Before::kNothing) return {.type = OperandType::kBf16, .data = x.data, .stride = x.stride};
  switch (w.operand().type) {
    case OperandType::kBf16: {
      auto* padded = context_.Take<uint16_t>(ScratchPiece::kOperand, x.rows * columns);
      RunPad(launcher, x.rows, x.cols, x.data, x.stride, padded, columns);
      return {.type = OperandType::kBf16, .data = padded, .stride = columns};
    }
    case OperandType::kE4m3: {
      auto* quantized = context_.Take<uint8_t>(ScratchPiece::kOperand, x.rows * columns);
      auto* scales = context_.Take<float>(ScratchPiece::kScales, x.rows);
      RunQuantizeE4m3(launcher, x.rows, x.cols, x.data, x.stride, quantized, columns, scales);
      return {.type = OperandType::kE4m3, .data = quantized, .stride = columns, .scales = scales};
    }
    case OperandType::kNvfp4: {
      const int64_t scale_bytes = Nvfp4ScaleBytes(x.rows, columns / kNvfp4Block);
      auto* quantized = context_.Take<uint8_t>(ScratchPiece::kOperand, x.rows * columns / 2);
      auto* scales = context_.Take<uint8_t>(ScratchPiece::kScales, scale_bytes);
      launcher.Do(
          "zeroing scales",
          [scales, scale_bytes](cudaStream_t stream) { return cudaMemsetAsync(scales, 0, scale_bytes, stream); },
          scales, scale_bytes);
      RunQuantizeNvfp4(launcher, x.rows, x.cols, x.data, x.stride, kNvfp4ActivationScale, quantized, columns, scales);
      return {.type = OperandType::kNvfp4, .data = quantized, .stride = columns, .scales = scales};
    }
  }
  return {};
}

void Products::RunPanel(const CudaKernel& w, const ConstMat& x, const Epilogue& e, const int32_t* mod_row,
                        const ConstMat* add, const Mat& y) {
  Launcher& launcher = context_.launcher();
  const DensePlan plan = ChooseDense({.type = w.operand().type,
                                      .outputs = w.rows(),
                                      .bias = w.has_bias(),
                                      .x_aligned = ReadsInPlace(w, x),
                                      .y_aligned = Aligned(y.data, y.stride, y.dtype),
                                      .y_f32 = y.dtype == DType::kF32,
                                      .add = add != nullptr,
                                      .activation = e.activation,
                                      .residual = e.residual,
                                      .gate = e.gate != nullptr});
  Product p = {.rows = x.rows,
               .outputs = w.product_rows(),
               .inputs = w.stride(),
               .x = Prepare(w, x, plan.before),
               .w = w.operand(),
               .tensor_scale = w.tensor_scale(),
               .epilogue = plan.product,
               .y_f32 = y.dtype == DType::kF32,
               .y = y.data,
               .y_stride = y.stride};
  if (plan.after == After::kEpilogue) {
    p.y_f32 = !plan.narrow_sums;
    p.y_stride = w.product_rows();
    p.y = context_.Take(ScratchPiece::kProduct, x.rows * p.y_stride * SizeOf(p.y_f32 ? DType::kF32 : DType::kBF16));
  } else if (w.has_bias()) {
    p.bias = p.bias_f32() ? w.bias() : w.bias_bf16();
  }
  if (launcher.ok()) matmul_.Run(p);
  switch (plan.after) {
    case After::kNothing:
      break;
    case After::kActivation:
      RunActivate(launcher, y, e.activation, y);
      break;
    case After::kEpilogue:
      RunEpilogue(launcher, {.rows = x.rows,
                             .columns = w.rows(),
                             .acc = p.y,
                             .acc_f32 = p.y_f32,
                             .acc_stride = p.y_stride,
                             .bias = w.has_bias() ? w.bias() : nullptr,
                             .add = add == nullptr ? nullptr : add->data,
                             .add_stride = add == nullptr ? 0 : add->stride,
                             .activation = e.activation,
                             .residual = e.residual,
                             .gate = e.gate,
                             .gate_stride = e.gate_stride,
                             .mod_row = mod_row,
                             .y = y.data,
                             .y_f32 = y.dtype == DType::kF32,
                             .y_stride = y.stride});
      break;
  }
}

void Products::Run(const CudaKernel& w, const ConstMat& x, const Epilogue& e, const ConstMat* add, const Mat& y) {
  for (int64_t first = 0; first < x.rows; first += kPanelRows) {
    const int64_t rows = std::min(kPanelRows, x.rows - first);
    ConstMat add_panel;
    if (add != nullptr) add_panel = RowRange(*add, first, rows);
    const int32_t* mod_row = e.gate == nullptr ? nullptr : context_.staging().PutKept(e.mod_row.subspan(first, rows));
    RunPanel(w, RowRange(x, first, rows), e, mod_row, add == nullptr ? nullptr : &add_panel, y.Rows(first, rows));
  }
}

void Products::RunGated(const CudaKernel& w, const ConstMat& x, Activation activation, const Mat& y) {
  Launcher& launcher = context_.launcher();
  const int64_t stride = w.product_rows();
  const DensePlan plan = ChooseDense({.type = w.operand().type, .outputs = stride, .x_aligned = ReadsInPlace(w, x)});
  for (int64_t first = 0; first < x.rows; first += kPanelRows) {
    const int64_t rows = std::min(kPanelRows, x.rows - first);
    auto* both = context_.Take<float>(ScratchPiece::kProduct, rows * stride);
    const Product p = {.rows = rows,
                       .outputs = w.product_rows(),
                       .inputs = w.stride(),
                       .x = Prepare(w, RowRange(x, first, rows), plan.before),
                       .w = w.operand(),
                       .tensor_scale = w.tensor_scale(),
                       .y_f32 = true,
                       .y = both,
                       .y_stride = stride};
    if (launcher.ok()) matmul_.Run(p);
    const Mat out = y.Rows(first, rows);
    RunGate(launcher, activation, rows, w.shape().outputs, both, stride, out.data, out.stride);
  }
}

}  // namespace longtake::cuda
