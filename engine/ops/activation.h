// Names of the activation functions. Plain data, because kernels compiled for one instruction set include this.
#ifndef LONGTAKE_ENGINE_OPS_ACTIVATION_H_
#define LONGTAKE_ENGINE_OPS_ACTIVATION_H_

namespace longtake {

enum class Activation {
  kNone,
  kSilu,
  kGeluTanh,
  kSigmoid,
  kRelu,
  kSoftClamp,  // 3 tanh(x / 3): how the tiny decoders bound latents
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_OPS_ACTIVATION_H_
