// Matrix products on the host: what cuBLASLt computes, by its definition, float32 sums in the order of the inputs.
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "engine/core/float16.h"
#include "engine/cuda/matmul.h"
#include "engine/quantization/formats.h"

namespace longtake::cuda {
namespace {

// Row `r` as floats.
void Decode(const Operand& o, int64_t r, int64_t inputs, std::vector<float>* out) {
  out->resize(inputs);
  const auto* bytes = static_cast<const uint8_t*>(o.data);
  for (int64_t i = 0; i < inputs; ++i) {
    const int64_t at = r * o.stride + i;
    switch (o.type) {
      case OperandType::kBf16:
        (*out)[i] = BF16ToFloat(static_cast<const uint16_t*>(o.data)[at]);
        break;
      case OperandType::kE4m3:
        (*out)[i] = DecodeE4m3(bytes[at]);
        break;
      case OperandType::kNvfp4: {
        const auto* scales = static_cast<const uint8_t*>(o.scales);
        const int64_t blocks = inputs / kNvfp4Block;
        (*out)[i] = DecodeE2m1(E2m1Code(bytes, at)) * DecodeE4m3(scales[Nvfp4ScaleOffset(r, i / kNvfp4Block, blocks)]);
        break;
      }
    }
  }
}

float ScaleOf(const Operand& o, int64_t r) {
  return o.type == OperandType::kE4m3 ? static_cast<const float*>(o.scales)[r] : 1.f;
}

float BiasOf(const Product& p, int64_t column) {
  if (p.bias == nullptr) return 0.f;
  return p.bias_f32() ? static_cast<const float*>(p.bias)[column]
                      : BF16ToFloat(static_cast<const uint16_t*>(p.bias)[column]);
}

void Multiply(const Product& p) {
  std::vector<std::vector<float>> weights(p.outputs);
  for (int64_t o = 0; o < p.outputs; ++o) Decode(p.w, o, p.inputs, &weights[o]);
  const float all = p.tensor_scale == nullptr ? 1.f : *p.tensor_scale;
  std::vector<float> x;
  for (int64_t r = 0; r < p.rows; ++r) {
    Decode(p.x, r, p.inputs, &x);
    for (int64_t o = 0; o < p.outputs; ++o) {
      // Sixteen sums side by side, so that the compiler has vectors; always the same ones.
      float parts[16] = {};
      for (int64_t i = 0; i < p.inputs; i += 16) {
        for (int j = 0; j < 16; ++j) parts[j] += x[i + j] * weights[o][i + j];
      }
      float acc = 0.f;
      for (const float part : parts) acc += part;
      acc = acc * all * ScaleOf(p.x, r) * ScaleOf(p.w, o) + BiasOf(p, o);
      if (p.epilogue == ProductEpilogue::kBiasGelu) {
        acc = 0.5f * acc * (1.f + std::tanh(0.7978845608f * (acc + 0.044715f * acc * acc * acc)));
      }
      const int64_t at = r * p.y_stride + o;
      if (p.epilogue == ProductEpilogue::kAdd || p.epilogue == ProductEpilogue::kAddBias) {
        static_cast<float*>(p.y)[at] += acc;
      } else if (p.y_f32) {
        static_cast<float*>(p.y)[at] = acc;
      } else {
        static_cast<uint16_t*>(p.y)[at] = FloatToBF16(acc);
      }
    }
  }
}

// What cuBLASLt refuses, or runs slower than it should.
bool Takes(const Product& p) {
  const auto aligned = [](const void* data, int64_t stride_bytes) {
    return reinterpret_cast<uintptr_t>(data) % 16 == 0 && stride_bytes % 16 == 0;
  };
  const auto operand = [&](const Operand& o) {
    const int64_t bits = o.type == OperandType::kBf16 ? 16 : o.type == OperandType::kE4m3 ? 8 : 4;
    return aligned(o.data, o.stride * bits / 8) && (o.type == OperandType::kBf16) == (o.scales == nullptr) &&
           (o.type != OperandType::kNvfp4 || o.stride == p.inputs);
  };
  const bool adds = p.epilogue == ProductEpilogue::kAdd || p.epilogue == ProductEpilogue::kAddBias;
  const bool biased = p.epilogue == ProductEpilogue::kBias || p.epilogue == ProductEpilogue::kBiasGelu ||
                      p.epilogue == ProductEpilogue::kAddBias;
  return p.inputs % 16 == 0 && p.outputs % kProductOutputs == 0 && p.x.type == p.w.type && operand(p.x) &&
         operand(p.w) && aligned(p.y, p.y_stride * (p.y_f32 ? 4 : 2)) && (!adds || p.y_f32) &&
         biased == (p.bias != nullptr) && (p.w.type == OperandType::kNvfp4) == (p.tensor_scale != nullptr);
}

class HostMatMul : public MatMul {
 public:
  explicit HostMatMul(Context& context) : context_(context) {}
  void Run(const Product& p) override {
    Launcher& launcher = context_.launcher();
    if (!Takes(p)) {
      launcher.Check(cudaErrorInvalidValue, NameOf(p));
      return;
    }
    RunProduct(launcher, NameOf(p), p,
               [p](cudaStream_t stream) { return emulation::EnqueueWork([p] { Multiply(p); }, stream); });
  }
  int plans() const override { return 0; }
  std::string name() const override { return "host"; }

 private:
  Context& context_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MatMul>> MakeMatMul(Context& context) { return std::make_unique<HostMatMul>(context); }

}  // namespace longtake::cuda
