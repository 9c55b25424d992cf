// The state of linear attention. Plain data, because kernels compiled for one instruction set include this.
#ifndef LONGTAKE_ENGINE_OPS_LINEAR_STATE_H_
#define LONGTAKE_ENGINE_OPS_LINEAR_STATE_H_

namespace longtake {

// S [h, d, d] (value x key) and z [h, d], f32.
struct LinearAttentionState {
  const float* S = nullptr;
  const float* z = nullptr;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_OPS_LINEAR_STATE_H_
