// Frames to a fragmented MP4 that can be cut into chunks while it is made.
//
// Not thread-safe: one thread at a time.
#ifndef LONGTAKE_SERVER_MEDIA_MP4_STREAM_H_
#define LONGTAKE_SERVER_MEDIA_MP4_STREAM_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace longtake::media {

struct VideoFormat {
  int width = 0, height = 0;  // pixels, even
  double fps = 16;            // above 0
  int quality = 18;           // x264's constant rate factor: 0 lossless ... 51
};

// One or more whole fragments; the first frame is a key frame and none refers to another chunk's.
struct Mp4Chunk {
  std::string bytes;
  int64_t init_segment_bytes = 0;  // at the beginning of the first chunk's bytes, else 0
  int64_t first_frame = 0;
  int frames = 0;
  double first_pts_seconds = 0, duration_seconds = 0;
};

// The chunks' bytes, one after the other, are the file. Equal frames in equal chunks give equal bytes: the encoder has
// one thread, looks ahead at nothing and reads no clock.
class Mp4Stream {
 public:
  // InvalidArgument: odd or empty picture, no frame rate. Internal: libav refuses.
  static absl::StatusOr<std::unique_ptr<Mp4Stream>> Create(const VideoFormat& format);
  ~Mp4Stream();

  // Encodes whole frames, 8-bit 4:2:0 BT.709 limited range, planes y, u, v one after the other. InvalidArgument:
  // `frames` is not a whole number of them.
  absl::Status Add(absl::Span<const uint8_t> frames);

  // Everything added since the last cut. FailedPrecondition: nothing was.
  absl::StatusOr<Mp4Chunk> Cut();

 private:
  struct Impl;
  explicit Mp4Stream(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace longtake::media

#endif  // LONGTAKE_SERVER_MEDIA_MP4_STREAM_H_
