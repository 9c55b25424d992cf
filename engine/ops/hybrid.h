// Operations of SANA-Video 2.0's transformer, whose layers are a hybrid of linear and softmax attention. No other model
// has them.
#ifndef LONGTAKE_ENGINE_OPS_HYBRID_H_
#define LONGTAKE_ENGINE_OPS_HYBRID_H_

#include <cstdint>
#include <span>

#include "engine/ops/family.h"
#include "engine/ops/segment.h"

namespace longtake {

// Softmax attention over depth, for every row on its own:
// out = sum over m of softmax_m(weight . X_m / sqrt(mean(X_m^2) + eps)) X_m.
struct DepthAttentionArgs {
  std::span<const ConstMat> sources;  // f32 [N, D] each; from 1 to kMostSources
  const float* weight = nullptr;      // [D]
  float eps = 1e-6f;
  Mat out;  // f32 [N, D]

  static constexpr int kMostSources = 64;
};

// Writes q | k | v for softmax attention on the grid of a clip: q and k RMS-normalized over D and rotated by 3-D rotary
// positions (as in LinearAttention), v as it is.
struct RotateOnGridArgs {
  ConstMat qkv;                     // f32 [N, 3D] as projected
  const float* q_weight = nullptr;  // [D] RMSNorm weights
  const float* k_weight = nullptr;
  float norm_eps = 1e-5f;
  int heads = 0, head_dim = 0;
  int64_t rope_max_positions = 1024;  // as in LinearAttention
  std::span<const Segment> segments;
  Mat out;  // act [N, 3D]; rows of no segment are undefined
};

// y = x * gate, where x is RMS-normalized over each head if there is a weight.
struct GateHeadsArgs {
  ConstMat x;                     // act [N, D]
  ConstMat gate;                  // act [N, D]
  const float* weight = nullptr;  // [head_dim], shared by the heads; null: no norm
  float norm_eps = 1e-5f;
  int head_dim = 0;  // divides D
  Mat y;             // act [N, D]; may be x
};

// stream += gate * x; branch = gate * x if it begins with this, else branch += gate * x.
struct AddBranchArgs {
  ConstMat x;                   // f32 [N, D]
  const float* gate = nullptr;  // rows of `gate_stride`; row n of x has that of mod_row[n]
  int64_t gate_stride = 0;
  std::span<const int32_t> mod_row;
  bool begins = false;
  Mat stream, branch;  // f32 [N, D]
};

class HybridOps : public OperationFamily {
 public:
  using OperationFamily::OperationFamily;
  virtual ~HybridOps() = default;

  void DepthAttention(const DepthAttentionArgs& args);
  void RotateOnGrid(const RotateOnGridArgs& args);
  void GateHeads(const GateHeadsArgs& args);
  void AddBranch(const AddBranchArgs& args);

 private:
  virtual void DoDepthAttention(const DepthAttentionArgs& args) = 0;
  virtual void DoRotateOnGrid(const RotateOnGridArgs& args) = 0;
  virtual void DoGateHeads(const GateHeadsArgs& args) = 0;
  virtual void DoAddBranch(const AddBranchArgs& args) = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_OPS_HYBRID_H_
