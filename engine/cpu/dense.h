// Internal to cpu/: the dense family. The quantized family derives from it.
#ifndef LONGTAKE_ENGINE_CPU_DENSE_H_
#define LONGTAKE_ENGINE_CPU_DENSE_H_

#include <span>

#include "engine/cpu/context.h"
#include "engine/cpu/packing.h"
#include "engine/ops/dense.h"

namespace longtake::cpu {

// y = epilogue(x W^T + bias + low-rank terms), for kernels of one tap.
void LinearProduct(Context& context, const CpuKernel& kernel, const ConstMat& x, std::span<const LowRankTerm> low_rank,
                   const Epilogue& epilogue, const Mat& y);

class CpuDenseOps : public DenseOps {
 public:
  explicit CpuDenseOps(Context& context) : DenseOps(&context), context_(context) {}
  bool adds_low_rank() const override { return true; }

 protected:
  void DoLinear(const LinearArgs& args) override;
  void DoLinearGated(const LinearGatedArgs& args) override;
  void DoEmbed(const EmbedArgs& args) override;

  Context& context_;
};

}  // namespace longtake::cpu

#endif  // LONGTAKE_ENGINE_CPU_DENSE_H_
