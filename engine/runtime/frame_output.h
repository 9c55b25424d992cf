// Decoded frames as the engine hands them out: 8-bit 4:2:0.
#ifndef LONGTAKE_ENGINE_RUNTIME_FRAME_OUTPUT_H_
#define LONGTAKE_ENGINE_RUNTIME_FRAME_OUTPUT_H_

#include <cstddef>
#include <cstdint>

#include "engine/engine.h"
#include "engine/models/wan/config.h"
#include "engine/ops/ops.h"

namespace longtake {

inline size_t I420Bytes(const Size& size) { return size_t{1} * size.width * size.height * 3 / 2; }

// `frame` as WanDecoder emits it, to device memory of I420Bytes.
inline void ToI420(Ops& ops, const WanConfig& vae, const Size& size, ConstMat frame, uint8_t* i420) {
  const size_t luma = size_t{1} * size.width * size.height;
  ops.latents().FrameToI420({.frame = frame,
                             .height = size.height / vae.patch,
                             .width = size.width / vae.patch,
                             .patch = vae.patch,
                             .y = i420,
                             .u = i420 + luma,
                             .v = i420 + luma + luma / 4});
}

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_FRAME_OUTPUT_H_
