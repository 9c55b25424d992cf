// Normalization of rows. Sums are f32 or more precise.
#ifndef LONGTAKE_ENGINE_OPS_NORM_H_
#define LONGTAKE_ENGINE_OPS_NORM_H_

#include <cstdint>
#include <span>

#include "engine/ops/family.h"

namespace longtake {

// y = LayerNorm(x) * (1 + scale[mod_row]) + shift[mod_row], without learned weights. Without scale and shift:
// LayerNorm(x).
struct LayerNormArgs {
  ConstMat x;  // f32 [N, D]
  float eps = 0;
  const float* shift = nullptr;  // f32 rows of D, `mod_stride` floats apart; shift and scale are both set or both null
  const float* scale = nullptr;
  int64_t mod_stride = 0;
  std::span<const int32_t> mod_row;  // for each row of y, its row of shift and scale
  Mat y;                             // act [N, D]
};

// y = x / rms(x) * (weight + weight_offset), or y += the same with `residual`.
struct RmsNormArgs {
  ConstMat x;                     // f32 or act [N, D]
  const float* weight = nullptr;  // [D]
  float weight_offset = 0;
  float eps = 0;
  bool residual = false;  // y (f32) += the norm
  Mat y;                  // act or f32 [N, D]
};

// y = x / sqrt(|x|_2^2 + C * eps) * sqrt(C) * gamma over the C channels of each row, then SiLU if `silu` is set: with
// `eps` it is x / sqrt(mean of x^2 + eps). y may be x if their types are the same.
struct ChannelNormArgs {
  ConstMat x;                    // f32 or act [pixels, C]
  const float* gamma = nullptr;  // [C]; null: ones
  float eps = 0;                 // without it, the root is at least 1e-12
  bool silu = false;
  Mat y;  // act [pixels, C]
};

class NormOps : public OperationFamily {
 public:
  using OperationFamily::OperationFamily;
  virtual ~NormOps() = default;

  void LayerNorm(const LayerNormArgs& args);
  void RmsNorm(const RmsNormArgs& args);
  void ChannelNorm(const ChannelNormArgs& args);

 private:
  virtual void DoLayerNorm(const LayerNormArgs& args) = 0;
  virtual void DoRmsNorm(const RmsNormArgs& args) = 0;
  virtual void DoChannelNorm(const ChannelNormArgs& args) = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_OPS_NORM_H_
