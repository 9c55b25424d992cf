// A decoded frame, and what it is converted to.
#ifndef LONGTAKE_ENGINE_MODELS_VIDEO_VIDEO_FRAME_H_
#define LONGTAKE_ENGINE_MODELS_VIDEO_VIDEO_FRAME_H_

#include <cstddef>
#include <cstdint>

#include "engine/ops/ops.h"

namespace longtake {

// A view of a frame in backend memory: [rows * columns, 3 * patch^2] as FrameToPlanarArgs orders it, act or f32. Values
// may lie beyond [-1, 1]; the conversions clamp them.
struct VideoFrame {
  ConstMat pixels;
  int rows = 0, columns = 0;  // of patches
  int patch = 1;              // pixels of a patch, each way

  int height() const { return rows * patch; }
  int width() const { return columns * patch; }
};

// Bytes of a frame in 8-bit 4:2:0. Height and width are even.
inline size_t I420Bytes(int64_t height, int64_t width) { return static_cast<size_t>(height * width * 3 / 2); }

// To `i420`, backend memory of I420Bytes: the planes y, u and v one after the other. BT.709, limited range.
void ToI420(Ops& ops, const VideoFrame& frame, uint8_t* i420);
// To `planar`, f32 [3, height, width] in backend memory, clamped to [-1, 1].
void ToPlanar(Ops& ops, const VideoFrame& frame, float* planar);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_VIDEO_VIDEO_FRAME_H_
