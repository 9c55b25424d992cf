// Weights and dense layers: which product, and what stands before and behind it.
#include <algorithm>
#include <new>
#include <utility>

#include "engine/core/float16.h"
#include "engine/cuda/cuda_ops_impl.h"
#include "engine/cuda/kernels/dense.h"
#include "engine/cuda/kernels/pointwise.h"
#include "engine/quantization/formats.h"

namespace longtake::cuda {
namespace {

// Rows of one product. It bounds scratch (float32 sums of 13 440 outputs are 881 MB here) and is more than a pass of 15
// 600 tokens, the largest of the 2B model at 480p; every larger number of rows is cut into these.
constexpr int64_t kPanelRows = 16384;

// From this many outputs on SiLU is applied to stored bf16 values: through float32 sums it would move 10 bytes more for
// each of them, 2.1 GB in a pass's widest layer. That rounds twice, as torch does.
constexpr int64_t kWideOutputs = 4096;

// Whether a product can read or write the rows in place.
bool InPlace(const void* data, int64_t stride, DType type) {
  return reinterpret_cast<uintptr_t>(data) % 16 == 0 && stride * static_cast<int64_t>(SizeOf(type)) % 16 == 0;
}

// [outputs, inputs, taps] to the device's order, [outputs, taps, inputs], appended.
void AppendTapMajor(const HostTensor& t, const KernelShape& shape, std::vector<float>* out) {
  const std::vector<float> values = ToFloats(t);
  const int64_t taps = shape.taps();
  if (taps == 1) {
    out->insert(out->end(), values.begin(), values.end());
    return;
  }
  for (int64_t row = 0; row < t.shape[0]; ++row) {
    for (int64_t tap = 0; tap < taps; ++tap) {
      for (int64_t i = 0; i < shape.inputs; ++i) out->push_back(values[(row * shape.inputs + i) * taps + tap]);
    }
  }
}

// Memory is the only thing that can fail here; it fails as every allocation of a backend does.
void ThrowUnlessOk(const absl::Status& status) {
  if (!status.ok()) throw std::bad_alloc();
}

}  // namespace

std::unique_ptr<PackedKernel> CudaOps::Pack(const KernelShape& shape, std::span<const HostTensor> weights,
                                            std::span<const HostTensor> biases) {
  std::vector<float> bias;
  for (const HostTensor& t : biases) {
    const std::vector<float> part = ToFloats(t);
    bias.insert(bias.end(), part.begin(), part.end());
  }
  auto kernel = std::make_unique<CudaKernel>(shape, shape.outputs);
  const OperandType type = shape.low_precision ? low_precision_ : OperandType::kBf16;
  ThrowUnlessOk(context_->Bind());
  const bool as_they_are =
      type == OperandType::kBf16 && shape.taps() == 1 && kernel->stride() == kernel->inputs() &&
      std::all_of(weights.begin(), weights.end(), [](const HostTensor& t) { return t.dtype == DType::kBF16; });
  if (as_they_are) {
    ThrowUnlessOk(kernel->UploadBf16(*context_, weights, bias));
    return kernel;
  }
  std::vector<float> all;
  all.reserve(shape.outputs * shape.taps() * shape.inputs);
  for (const HostTensor& t : weights) AppendTapMajor(t, shape, &all);
  ThrowUnlessOk(kernel->Upload(*context_, type, all, bias));
  return kernel;
}

std::unique_ptr<PackedKernel> CudaOps::PackGated(const KernelShape& shape, const HostTensor& gate,
                                                 const HostTensor& up) {
  std::vector<float> all = ToFloats(gate);
  const std::vector<float> second = ToFloats(up);
  all.insert(all.end(), second.begin(), second.end());
  auto kernel = std::make_unique<CudaKernel>(shape, 2 * shape.outputs);
  ThrowUnlessOk(context_->Bind());
  ThrowUnlessOk(kernel->Upload(*context_, shape.low_precision ? low_precision_ : OperandType::kBf16, all, {}));
  return kernel;
}

std::unique_ptr<PackedKernel> CudaOps::PackDepthwise(const HostTensor& weight, const HostTensor& bias) {
  const int64_t channels = weight.shape[0];
  const std::vector<float> w = ToFloats(weight), b = ToFloats(bias);
  std::vector<float> all(10 * channels);
  for (int64_t c = 0; c < channels; ++c) {
    for (int tap = 0; tap < 9; ++tap) all[tap * channels + c] = w[c * 9 + tap];
    all[9 * channels + c] = b[c];
  }
  auto kernel = std::make_unique<CudaDepthwise>(channels);
  ThrowUnlessOk(context_->Bind());
  ThrowUnlessOk(kernel->Upload(*context_, all));
  return kernel;
}

// x as the weights' product reads it: as it is, or padded or quantised into scratch.
Operand CudaOps::PrepareOperand(const CudaKernel& w, const ConstMat& x) {
  Launcher& launcher = context_->launcher();
  const int64_t columns = w.stride();
  switch (w.operand().type) {
    case OperandType::kBf16: {
      if (w.inputs() == columns && InPlace(x.data, x.stride, DType::kBF16)) {
        return {.type = OperandType::kBf16, .data = x.data, .stride = x.stride};
      }
      auto* padded = context_->Take<uint16_t>(Scratch::kOperand, x.rows * columns);
      RunPad(launcher, x.rows, x.cols, x.data, x.stride, padded, columns);
      return {.type = OperandType::kBf16, .data = padded, .stride = columns};
    }
    case OperandType::kE4m3: {
      auto* narrow = context_->Take<uint8_t>(Scratch::kOperand, x.rows * columns);
      auto* scales = context_->Take<float>(Scratch::kScales, x.rows);
      RunQuantizeE4m3(launcher, x.rows, x.cols, x.data, x.stride, narrow, columns, scales);
      return {.type = OperandType::kE4m3, .data = narrow, .stride = columns, .scales = scales};
    }
    case OperandType::kNvfp4: {
      const int64_t scale_bytes = Nvfp4ScaleBytes(x.rows, columns / kNvfp4Block);
      auto* narrow = context_->Take<uint8_t>(Scratch::kOperand, x.rows * columns / 2);
      auto* scales = context_->Take<uint8_t>(Scratch::kScales, scale_bytes);
      launcher.Do(
          "zeroing scales",
          [scales, scale_bytes](cudaStream_t stream) { return cudaMemsetAsync(scales, 0, scale_bytes, stream); },
          scales, scale_bytes);
      RunQuantizeNvfp4(launcher, x.rows, x.cols, x.data, x.stride, kNvfp4ActivationScale, narrow, columns, scales);
      return {.type = OperandType::kNvfp4, .data = narrow, .stride = columns, .scales = scales};
    }
  }
  return {};
}

void CudaOps::RunDensePanel(const CudaKernel& w, const ConstMat& x, const Epilogue& e, const int32_t* mod_row,
                            const ConstMat* add, const Mat& y) {
  Launcher& launcher = context_->launcher();
  Product p = {.rows = x.rows,
               .outputs = w.rows(),
               .inputs = w.stride(),
               .x = PrepareOperand(w, x),
               .w = w.operand(),
               .tensor_scale = w.tensor_scale(),
               .y_f32 = y.dtype == DType::kF32,
               .y = y.data,
               .y_stride = y.stride};
  const void* bias = p.bias_f32() ? w.bias() : w.bias_bf16();  // as products take it
  const bool plain = e.activation == Activation::kNone;
  const bool in_place = add == nullptr && w.rows() % 8 == 0 && InPlace(y.data, y.stride, y.dtype);
  const bool silu_after = e.activation == Activation::kSilu && !p.y_f32 && w.rows() >= kWideOutputs;

  if (in_place && e.residual && e.gate == nullptr && plain && p.y_f32) {
    p.epilogue = w.has_bias() ? ProductEpilogue::kAddBias : ProductEpilogue::kAdd;
  } else if (in_place && !e.residual && (plain || silu_after) && (!w.has_bias() || bias != nullptr)) {
    p.epilogue = w.has_bias() ? ProductEpilogue::kBias : ProductEpilogue::kNone;
  } else if (in_place && !e.residual && e.activation == Activation::kGeluTanh && !p.y_f32 && bias != nullptr) {
    p.epilogue = ProductEpilogue::kBiasGelu;
  } else {
    const int64_t stride = RoundUp(w.rows(), 8);
    p.y = context_->Take<float>(Scratch::kProduct, x.rows * stride);
    p.y_f32 = true;
    p.y_stride = stride;
    if (launcher.ok()) matmul_->Run(p);
    RunEpilogue(launcher, {.rows = x.rows,
                           .columns = w.rows(),
                           .acc = static_cast<const float*>(p.y),
                           .acc_stride = stride,
                           .bias = w.has_bias() ? w.bias() : nullptr,
                           .add = add == nullptr ? nullptr : add->data,
                           .add_stride = add == nullptr ? 0 : add->stride,
                           .activation = ActOf(e.activation),
                           .residual = e.residual,
                           .gate = e.gate,
                           .gate_stride = e.gate_stride,
                           .mod_row = mod_row,
                           .y = y.data,
                           .y_f32 = y.dtype == DType::kF32,
                           .y_stride = y.stride});
    return;
  }
  if (w.has_bias()) p.bias = bias;
  if (launcher.ok()) matmul_->Run(p);
  if (silu_after) RunActivate(launcher, y, Act::kSilu, y);
}

void CudaOps::RunDense(const CudaKernel& w, ConstMat x, const Epilogue& e, const ConstMat* add, Mat y) {
  const auto width = static_cast<int64_t>(SizeOf(x.dtype));
  for (int64_t first = 0; first < x.rows; first += kPanelRows) {
    const int64_t rows = std::min(kPanelRows, x.rows - first);
    const ConstMat panel = {static_cast<const std::byte*>(x.data) + first * x.stride * width, x.dtype, rows, x.cols,
                            x.stride};
    ConstMat add_panel;
    if (add != nullptr) {
      add_panel = *add;
      add_panel.data = static_cast<const std::byte*>(add->data) + first * add->stride * width;
    }
    const int32_t* mod_row = e.gate == nullptr ? nullptr : context_->staging().PutKept(e.mod_row.subspan(first, rows));
    RunDensePanel(w, panel, e, mod_row, add == nullptr ? nullptr : &add_panel, y.Rows(first, rows));
  }
}

void CudaOps::Linear(const PackedKernel& w, ConstMat x, const Epilogue& e, Mat y) {
  RunDense(static_cast<const CudaKernel&>(w), x, e, nullptr, y);
}

void CudaOps::LinearGated(const PackedKernel& w, ConstMat x, Activation a, Mat y) {
  const auto& kernel = static_cast<const CudaKernel&>(w);
  Launcher& launcher = context_->launcher();
  const int64_t stride = RoundUp(kernel.rows(), 8);
  for (int64_t first = 0; first < x.rows; first += kPanelRows) {
    const int64_t rows = std::min(kPanelRows, x.rows - first);
    const ConstMat panel = {
        static_cast<const std::byte*>(x.data) + first * x.stride * static_cast<int64_t>(SizeOf(x.dtype)), x.dtype, rows,
        x.cols, x.stride};
    auto* both = context_->Take<float>(Scratch::kProduct, rows * stride);
    const Product p = {.rows = rows,
                       .outputs = kernel.rows(),
                       .inputs = kernel.stride(),
                       .x = PrepareOperand(kernel, panel),
                       .w = kernel.operand(),
                       .tensor_scale = kernel.tensor_scale(),
                       .y_f32 = true,
                       .y = both,
                       .y_stride = stride};
    if (launcher.ok()) matmul_->Run(p);
    const Mat out = y.Rows(first, rows);
    RunGate(launcher, ActOf(a), rows, kernel.shape().outputs, both, stride, out.data, out.stride);
  }
}

}  // namespace longtake::cuda
