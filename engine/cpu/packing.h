// Weights in the layout that the matrix kernels read: panels of columns.
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

// A kernel's weights: panels of up to 64 outputs. The layout of a panel is [tap][part][k][output]; bf16 has pairs of k:
// [k / 2][output][2].
//
// If a panel of one tap exceeds the L2 cache, the tap's inputs are divided into equal parts. For the matrix kernel a
// part is one more tap, with row pointers advanced to its inputs.
class CpuKernel : public PackedKernel {
 public:
  struct Panel {
    int64_t first_column = 0;  // of the outputs
    int columns = 0;           // outputs of this panel; a gated panel has twice as many columns of weights
    int vectors = 0;
    const std::byte* data = nullptr;
  };

  // gated: `weights` are G and U of LinearGated. The left half of a panel's columns comes from G and the right half
  // from U, for the same outputs, so that both factors of a result are computed in the same register tile.
  CpuKernel(const KernelShape& shape, std::span<const HostTensor> weights, std::span<const HostTensor> biases,
            bool gated, Context& context);

  size_t bytes() const override { return weights_.size() + bias_.size(); }
  DType type() const { return type_; }
  bool gated() const { return gated_; }
  const std::vector<Panel>& panels() const { return panels_; }
  int parts() const { return parts_; }
  int64_t part_inputs() const { return shape().inputs / parts_; }
  int64_t part_bytes(const Panel& p) const { return part_k_ * p.vectors * lanes_ * BytesOf(type_); }
  // The number of a panel's parts that fit into the L2 cache together.
  int chunk() const;
  const float* bias() const { return bias_.f32(); }  // padded with zeros to full vectors

 private:
  DType type_;
  bool gated_;
  int lanes_;
  int parts_;
  int64_t part_k_;  // part_inputs(), rounded up as the kernels require
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
