// The cpu backend with the products of a device's narrow types, so that their quality can be measured without a device.
#ifndef LONGTAKE_ENGINE_CPU_NARROW_OPS_H_
#define LONGTAKE_ENGINE_CPU_NARROW_OPS_H_

#include <memory>
#include <vector>

#include "engine/cpu/cpu_ops_impl.h"

namespace longtake::cpu {

enum class NarrowType { kFloat8, kNvfp4 };

// Kernels marked low_precision, of one tap: weights and each row of activations are rounded as engine/cuda rounds them
// (its formats.h and narrow_rows.h) and multiplied as bf16 numbers. That loses nothing: e4m3 has 4 significant bits, an
// e2m1 number times its block's e4m3 scale 6, and bf16 8. What is left are the sums, in float32 and another order than
// a device's, and the scales, applied to the sums as there. Everything else is bfloat16 on the cpu backend. It takes
// longer than bfloat16, never less.
class NarrowCpuOps : public CpuOps {
 public:
  NarrowCpuOps(Isa isa, const KernelTable& table, int threads, NarrowType type);

  std::string name() const override;
  std::unique_ptr<PackedKernel> Pack(const KernelShape& shape, std::span<const HostTensor> weights,
                                     std::span<const HostTensor> biases) override;
  void Linear(const PackedKernel& w, ConstMat x, const Epilogue& e, Mat y) override;

 private:
  // Rounds rows; each may have a factor that belongs to its products.
  void Round(ConstMat x, Mat rounded, float* factors);

  const NarrowType type_;
  Workspace rounded_, sums_, factors_;
};

}  // namespace longtake::cpu

#endif  // LONGTAKE_ENGINE_CPU_NARROW_OPS_H_
