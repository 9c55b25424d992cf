// Weights in the layout that the matrix kernels read: panels of columns.
#ifndef LONGTAKE_ENGINE_CPU_PACKING_H_
#define LONGTAKE_ENGINE_CPU_PACKING_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/cpu/context.h"
#include "engine/cpu/memory.h"
#include "engine/cpu/views.h"
#include "engine/ops/weights.h"

namespace longtake::cpu {

// A kernel's weights: panels of up to 64 outputs. The layout of a panel is [tap][part][k][output]; bf16 has pairs of k,
// [k / 2][output][2], and int8 has fours.
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
  //
  // `type` is f32, bf16, or int8: then an output's weights are rounded to multiples of largest |w| / 127.
  CpuKernel(const KernelShape& shape, DType type, std::span<const HostTensor> weights,
            std::span<const HostTensor> biases, bool gated, Context& context);
  // Of the blocks of an equal kernel, which are used in place. Null: they have other sizes.
  static std::unique_ptr<CpuKernel> Restore(const KernelShape& shape, DType type, bool gated, const KernelTable& table,
                                            std::span<const PackedBlock> blocks);
  // Identifies the layout: equal results mean equal bytes of equal weights.
  static std::string Layout(const KernelTable& table);

  size_t bytes() const override { return weights_.size() + bias_.size() + offsets_.size() + scales_.size(); }
  std::vector<std::span<const std::byte>> blocks() const override;
  DType type() const { return type_; }
  bool gated() const { return gated_; }
  const std::vector<Panel>& panels() const { return panels_; }
  int parts() const { return parts_; }
  int64_t part_inputs() const { return shape().inputs / parts_; }
  // part_inputs() rounded up as the kernels require.
  int64_t padded_part_inputs() const { return part_k_; }
  int64_t part_bytes(const Panel& p) const { return part_k_ * p.vectors * lanes_ * BytesOf(type_); }
  // The number of a panel's parts that fit into the L2 cache together.
  int chunk() const;
  const float* bias() const { return bias_.f32(); }  // padded with zeros to full vectors
  // int8: of the weights' columns, as GemmBlock takes them. A row's bytes are 128 above its numbers, which adds 128
  // times the column's sum to every product.
  const int32_t* offsets(const Panel& p) const { return reinterpret_cast<const int32_t*>(offsets_.data()) + at(p); }
  const float* scales(const Panel& p) const { return scales_.f32() + at(p); }

 private:
  // Divides the kernel into parts and panels; it has no memory yet.
  CpuKernel(const KernelShape& shape, DType type, bool gated, const KernelTable& table);
  // Those that a kernel of its type has, and their sizes in bytes.
  std::vector<Memory*> Memories();
  std::vector<size_t> Sizes() const;
  int64_t padded_outputs() const;
  void SetPanelData();
  // Packs the panel's columns of weights.
  void Fill(const Panel& p, std::span<const HostTensor> weights);

  // The panel's first column of weights.
  int64_t at(const Panel& p) const { return (gated_ ? 2 : 1) * p.first_column; }

  DType type_;
  bool gated_;
  int64_t full_panel_ = 0;  // outputs of a full panel
  int lanes_;
  int parts_;
  int64_t part_k_;
  std::vector<Panel> panels_;
  Memory weights_, bias_;
  Memory offsets_, scales_;  // empty but for int8
};

// Depthwise weights f32 [9][C] and bias [C].
class DepthwiseKernel : public PackedKernel {
 public:
  DepthwiseKernel(const HostTensor& weight, const HostTensor& bias);
  static std::unique_ptr<DepthwiseKernel> Restore(int64_t channels, std::span<const PackedBlock> blocks);
  size_t bytes() const override { return memory_.size(); }
  std::vector<std::span<const std::byte>> blocks() const override { return {memory_.bytes()}; }
  const float* weight() const { return memory_.f32(); }
  const float* bias() const { return memory_.f32() + 9 * shape().outputs; }

 private:
  DepthwiseKernel(int64_t channels, Memory memory);
  static size_t Bytes(int64_t channels) { return 10 * channels * sizeof(float); }

  Memory memory_;
};

// A view of a restored block of `bytes` bytes, or nothing if it has another size.
std::optional<Memory> RestoredMemory(const PackedBlock& block, size_t bytes);

}  // namespace longtake::cpu

#endif  // LONGTAKE_ENGINE_CPU_PACKING_H_
