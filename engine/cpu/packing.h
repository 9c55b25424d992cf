// Weights, keys and values as the matrix kernels read them: panels of columns.
#ifndef LONGTAKE_ENGINE_CPU_PACKING_H_
#define LONGTAKE_ENGINE_CPU_PACKING_H_

#include <cstdint>
#include <span>
#include <vector>

#include "engine/core/thread_pool.h"
#include "engine/cpu/kernels/kernel_table.h"
#include "engine/cpu/memory.h"
#include "engine/ops/ops.h"

namespace longtake::cpu {

inline int64_t RoundUp(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
inline Elem ElemOf(DType t) { return t == DType::kBF16 ? Elem::kBF16 : Elem::kF32; }
inline int64_t ElemBytes(Elem e) { return e == Elem::kBF16 ? 2 : 4; }
// Inputs that one multiply-add takes: bf16 comes in pairs.
inline int64_t StepOf(Elem e) { return e == Elem::kBF16 ? 2 : 1; }

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
            bool gated, Elem type, const KernelTable& table, ThreadPool& pool);

  size_t bytes() const override { return weights_.size() + bias_.size(); }
  Elem type() const { return type_; }
  bool gated() const { return gated_; }
  const std::vector<Panel>& panels() const { return panels_; }
  int parts() const { return parts_; }
  int64_t part_inputs() const { return shape().inputs / parts_; }
  int64_t part_bytes(const Panel& p) const { return part_k_ * p.vectors * lanes_ * ElemBytes(type_); }
  // Parts of a panel that stay in the second-level cache together.
  int chunk() const;
  const float* bias() const { return bias_.f32(); }  // padded with zeros to whole vectors

 private:
  Elem type_;
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

// Elements that PackKeys and PackValues write for n rows of d.
int64_t KeyElements(int64_t n, int64_t d, Elem type, const KernelTable& table);
int64_t ValueElements(int64_t n, int64_t d, Elem type, const KernelTable& table);
// Rows as columns (a key's channels are what a score sums over), and rows as they are (a sum over values runs over
// rows).
void PackKeys(const void* rows, int64_t stride, int64_t n, int64_t d, Elem type, const KernelTable& table, void* out);
void PackValues(const void* rows, int64_t stride, int64_t n, int64_t d, Elem type, const KernelTable& table, void* out);

}  // namespace longtake::cpu

#endif  // LONGTAKE_ENGINE_CPU_PACKING_H_
