// Memory, weights and dense layers.
#include <cassert>
#include <cstring>

#include "engine/core/float16.h"
#include "engine/reference/reference_impl.h"
#include "engine/reference/reference_ops.h"

namespace longtake {

std::unique_ptr<Ops> MakeReferenceOps() { return std::make_unique<reference::ReferenceOps>(); }

namespace reference {
namespace {

class HostBuffer : public Buffer {
 public:
  explicit HostBuffer(size_t bytes)
      : size_(bytes), data_(static_cast<std::byte*>(operator new (bytes + 1, std::align_val_t{64}))) {
    std::memset(data_, 0, bytes);
  }
  ~HostBuffer() override { operator delete (data_, std::align_val_t{64}); }
  void* data() override { return data_; }
  size_t size() const override { return size_; }

 private:
  size_t size_;
  std::byte* data_;
};

}  // namespace

void Store(const Epilogue& e, double acc, int64_t row, int64_t col, const Mat& y) {
  const double value = Activated<double>(e.activation, acc);
  float& out = Row(y, row)[col];
  if (!e.residual) {
    out = static_cast<float>(value);
  } else {
    const double gate = e.gate == nullptr ? 1.0 : e.gate[e.mod_row[row] * e.gate_stride + col];
    out = static_cast<float>(out + gate * value);
  }
}

std::unique_ptr<Buffer> ReferenceOps::Allocate(size_t bytes) { return std::make_unique<HostBuffer>(bytes); }
void ReferenceOps::Upload(const void* host, void* backend, size_t bytes) { std::memcpy(backend, host, bytes); }
void ReferenceOps::Download(const void* backend, void* host, size_t bytes) { std::memcpy(host, backend, bytes); }
void ReferenceOps::Copy(const void* from, void* to, size_t bytes) { std::memcpy(to, from, bytes); }

void ReferenceOps::Convert(ConstMat from, Mat to) {
  for (int64_t r = 0; r < from.rows; ++r) std::memcpy(Row(to, r), Row(from, r), from.cols * sizeof(float));
}

std::unique_ptr<PackedKernel> ReferenceOps::Pack(const KernelShape& shape, std::span<const HostTensor> weights,
                                                 std::span<const HostTensor> biases) {
  const int64_t taps = shape.taps();
  std::vector<float> weight(shape.outputs * taps * shape.inputs), bias(shape.outputs, 0.f);
  int64_t output = 0, bias_at = 0;
  for (const HostTensor& t : weights) {
    const std::vector<float> from = ToFloats(t);  // [outputs, inputs, taps]
    for (int64_t o = 0; o < t.shape[0]; ++o, ++output) {
      for (int64_t i = 0; i < shape.inputs; ++i) {
        for (int64_t k = 0; k < taps; ++k) {
          weight[(output * taps + k) * shape.inputs + i] = from[(o * shape.inputs + i) * taps + k];
        }
      }
    }
  }
  for (const HostTensor& t : biases) {
    for (float b : ToFloats(t)) bias[bias_at++] = b;
  }
  assert(output == shape.outputs && (bias_at == 0 || bias_at == shape.outputs));
  return std::make_unique<Kernel>(shape, std::move(weight), std::move(bias));
}

// Rows of G, then rows of U; the shape is one of them.
std::unique_ptr<PackedKernel> ReferenceOps::PackGated(const KernelShape& shape, const HostTensor& gate,
                                                      const HostTensor& up) {
  std::vector<float> weight = ToFloats(gate);
  const std::vector<float> second = ToFloats(up);
  weight.insert(weight.end(), second.begin(), second.end());
  return std::make_unique<Kernel>(shape, std::move(weight), std::vector<float>());
}

std::unique_ptr<PackedKernel> ReferenceOps::PackDepthwise(const HostTensor& weight, const HostTensor& bias) {
  const KernelShape shape{.outputs = weight.shape[0], .inputs = 1, .kt = 1, .kh = 3, .kw = 3};
  return Pack(shape, {&weight, 1}, {&bias, 1});
}

void ReferenceOps::Linear(const PackedKernel& w, ConstMat x, const Epilogue& e, Mat y) {
  const Kernel& kernel = AsKernel(w);
  for (int64_t n = 0; n < x.rows; ++n) {
    const float* in = Row(x, n);
    for (int64_t o = 0; o < w.shape().outputs; ++o) {
      const float* weight = kernel.row(o);
      double acc = kernel.bias(o);
      for (int64_t i = 0; i < w.shape().inputs; ++i) acc += double{weight[i]} * in[i];
      Store(e, acc, n, o, y);
    }
  }
}

void ReferenceOps::LinearGated(const PackedKernel& w, ConstMat x, Activation a, Mat y) {
  const Kernel& kernel = AsKernel(w);
  const KernelShape& shape = w.shape();
  for (int64_t n = 0; n < x.rows; ++n) {
    for (int64_t o = 0; o < shape.outputs; ++o) {
      double gate = 0, up = 0;
      for (int64_t i = 0; i < shape.inputs; ++i) {
        gate += double{kernel.row(o)[i]} * Row(x, n)[i];
        up += double{kernel.row(shape.outputs + o)[i]} * Row(x, n)[i];
      }
      Row(y, n)[o] = static_cast<float>(Activated<double>(a, gate) * up);
    }
  }
}

}  // namespace reference
}  // namespace longtake
