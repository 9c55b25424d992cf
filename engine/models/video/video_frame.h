// A decoded frame and its conversions.
#ifndef LONGTAKE_ENGINE_MODELS_VIDEO_VIDEO_FRAME_H_
#define LONGTAKE_ENGINE_MODELS_VIDEO_VIDEO_FRAME_H_

#include <cstddef>
#include <cstdint>

#include "engine/ops/ops.h"

namespace longtake {

// A view of a frame in backend memory: [rows * columns, 3 * patch^2], with the columns of FrameToPlanarArgs, act or
// f32. Values may exceed [-1, 1]; the conversions clamp them.
struct VideoFrame {
  ConstMat pixels;
  int rows = 0, columns = 0;  // of patches
  int patch = 1;              // pixels per patch, in both directions

  int height() const { return rows * patch; }
  int width() const { return columns * patch; }
};

// Bytes of a frame in 8-bit 4:2:0. Height and width are even.
inline size_t I420Bytes(int64_t height, int64_t width) { return static_cast<size_t>(height * width * 3 / 2); }

// Converts to 4:2:0 in `i420`, backend memory of I420Bytes: the planes y, u and v, one after the other; BT.709, limited
// range.
void ToI420(Ops& ops, const VideoFrame& frame, uint8_t* i420);
// Converts to `planar`, f32 [3, height, width] in backend memory, clamped to [-1, 1].
void ToPlanar(Ops& ops, const VideoFrame& frame, float* planar);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_VIDEO_VIDEO_FRAME_H_
