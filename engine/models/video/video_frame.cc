#include "engine/models/video/video_frame.h"

namespace longtake {

void ToI420(Ops& ops, const VideoFrame& frame, uint8_t* i420) {
  const int64_t luma = int64_t{frame.height()} * frame.width();
  ops.latents().FrameToI420({.frame = frame.pixels,
                             .height = frame.rows,
                             .width = frame.columns,
                             .patch = frame.patch,
                             .y = i420,
                             .u = i420 + luma,
                             .v = i420 + luma + luma / 4});
}

void ToPlanar(Ops& ops, const VideoFrame& frame, float* planar) {
  ops.latents().FrameToPlanar(
      {.frame = frame.pixels, .height = frame.rows, .width = frame.columns, .patch = frame.patch, .planar = planar});
}

}  // namespace longtake
