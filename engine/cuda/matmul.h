// Matrix products y = x w^T on one device. Two implementations, chosen by the build files: cuBLASLt
// (matmul_cublaslt.cc), and a plain loop on the host for the tests' emulation (tests/cuda/emulation/matmul_host.cc).
//
// A product has one algorithm for each (outputs, inputs, types), chosen when it first runs, from those that never split
// the inputs; it runs any number of rows. So a row's bytes depend on neither the number of rows nor its place.
#ifndef LONGTAKE_ENGINE_CUDA_MATMUL_H_
#define LONGTAKE_ENGINE_CUDA_MATMUL_H_

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "engine/cuda/context.h"

namespace longtake::cuda {

enum class OperandType : uint8_t {
  kBf16,
  kE4m3,   // float8, times a float32 scale a row
  kNvfp4,  // e2m1, two in a byte, the lower index in the low bits; times an e4m3 scale for each 16 along the inputs
           // (nvfp4.h has their places), times one float32 of the whole matrix
};

// Rows of `inputs` elements, `stride` elements apart (of kNvfp4: inputs). Aligned to 16 bytes, as are the rows.
struct Operand {
  OperandType type = OperandType::kBf16;
  const void* data = nullptr;
  int64_t stride = 0;
  const void* scales = nullptr;  // device: f32 [rows] of kE4m3; e4m3 tiles of kNvfp4
};

enum class ProductEpilogue : uint8_t {
  kNone,
  kBias,      // + bias
  kBiasGelu,  // gelu_tanh(acc + bias)
  kAdd,       // y + acc, y f32
  kAddBias,   // y + acc + bias, y f32
};

// Outputs come in multiples of this: cuBLASLt multiplies e4m3 and e2m1 in no others, and bf16 slowly.
inline constexpr int64_t kProductOutputs = 16;

struct Product {
  int64_t rows = 0;     // any number
  int64_t outputs = 0;  // a multiple of kProductOutputs
  int64_t inputs = 0;   // a multiple of 16
  Operand x, w;         // of the same type
  // kNvfp4: device pointer to the product of the two matrices' float32 scales.
  const float* tensor_scale = nullptr;
  ProductEpilogue epilogue = ProductEpilogue::kNone;
  // Device, [outputs], of the one type that cuBLASLt takes.
  const void* bias = nullptr;
  bool bias_f32() const { return y_f32 && x.type == OperandType::kBf16; }  // else bf16
  // bf16 or f32, rows `y_stride` elements apart; aligned to 16 bytes, as are the rows.
  bool y_f32 = false;
  void* y = nullptr;
  int64_t y_stride = 0;
};

class MatMul {
 public:
  virtual ~MatMul() = default;
  // In the launcher's mode; failures go there. The first product of a kind chooses its algorithm, also when planning.
  virtual void Run(const Product& product) = 0;
  // Device memory that is held all the time.
  virtual size_t workspace_bytes() const { return 0; }
  // For one line of a benchmark: how many algorithms are held.
  virtual int plans() const = 0;
  // Who computes, in which version, by which algorithms: part of the numerics id. Complete once all is planned.
  virtual std::string name() const = 0;

 protected:
  // For messages and times by launch; lasts as long as this object.
  const char* NameOf(const Product& p) {
    std::string& name = names_[{p.inputs, p.outputs}];
    if (name.empty()) name = absl::StrCat("matrix product of ", p.inputs, " inputs, ", p.outputs, " outputs");
    return name.c_str();
  }

 private:
  std::map<std::pair<int64_t, int64_t>, std::string> names_;
};

// The product by `work(stream)`, in the launcher's mode. `what` is for messages, and outlives all launches.
template <typename F>
void RunProduct(Launcher& launcher, const char* what, const Product& p, const F& work) {
  const auto values = [](const Operand& o) {
    return std::array{reinterpret_cast<int64_t>(o.data), o.stride, reinterpret_cast<int64_t>(o.scales)};
  };
  launcher.Do(what, work, p.rows, p.outputs, p.inputs, p.x.type, values(p.x), p.w.type, values(p.w), p.tensor_scale,
              p.epilogue, p.bias, p.y_f32, p.y, p.y_stride);
}

absl::StatusOr<std::unique_ptr<MatMul>> MakeMatMul(Context& context);

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_MATMUL_H_
