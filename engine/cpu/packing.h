// Weights as the matrix kernels read them: panels of columns.
#ifndef LONGTAKE_ENGINE_CPU_PACKING_H_
#define LONGTAKE_ENGINE_CPU_PACKING_H_

#include <cstdint>
#include <span>
#include <vector>

#include "engine/cpu/context.h"
#include "engine/cpu/memory.h"
#include "engine/cpu/views.h"
#include "engine/ops/weights.h"

namespace longtake::cpu {

// A kernel's weights: panels of up to 64 outputs; in a panel [tap][part][k][output], bf16 as [k/2][output][2].
//
// A tap's inputs are cut into equal parts where a panel of them would not stay in the second-level cache; to the matrix
// kernel a part is one more tap, with row pointers that much further on.
class CpuKernel : public PackedKernel {
 public:
  struct Panel {
    int64_t first_column = 0;  // of the outputs
    int columns = 0;           // outputs of this panel; its weights have twice as many columns where gated
    int vectors = 0;
    const std::byte* data = nullptr;
  };

  // gated: `weights` are G and U of LinearGated. The left half of a panel's columns is G's, the right half U's, of the
  // same outputs, so that the two numbers of a result meet in one register tile.
  CpuKernel(const KernelShape& shape, std::span<const HostTensor> weights, std::span<const HostTensor> biases,
            bool gated, Context& context);

  size_t bytes() const override { return weights_.size() + bias_.size(); }
  DType type() const { return type_; }
  bool gated() const { return gated_; }
  const std::vector<Panel>& panels() const { return panels_; }
  int parts() const { return parts_; }
  int64_t part_inputs() const { return shape().inputs / parts_; }
  int64_t part_bytes(const Panel& p) const { return part_k_ * p.vectors * lanes_ * BytesOf(type_); }
  // Parts of a panel that stay in the second-level cache together.
  int chunk() const;
  const float* bias() const { return bias_.f32(); }  // padded with zeros to whole vectors

 private:
  DType type_;
  bool gated_;
  int lanes_;
  int parts_;
  int64_t part_k_;  // part_inputs() rounded up as the kernel reads them
  std::vector<Panel> panels_;
  Memory weights_, bias_;
};

// Depthwise weights f32 [9][C] and bias [C].
class DepthwiseKernel : public PackedKernel {
 public:
  DepthwiseKernel(const HostTensor& weight, const HostTensor& bias);
  size_t bytes() const override { return memory_.size(); }
  const float* weight() const { return memory_.f32(); }
  const float* bias() const { return memory_.f32() + 9 * shape().outputs; }

 private:
  Memory memory_;
};

}  // namespace longtake::cpu

#endif  // LONGTAKE_ENGINE_CPU_PACKING_H_
