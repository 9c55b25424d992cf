// From frames to H.264 in fragmented MP4 (CMAF). This is the only header of the room that others include.
//
// A video consists of blocks, a block of chunks. The file is the stream's init segment followed by the chunks of all
// blocks in order. Each block has an encoder of its own, so blocks can be encoded in any order, on any thread, or again
// after a restart, and have the same bytes each time.
#ifndef LONGTAKE_SERVER_MEDIA_MEDIA_H_
#define LONGTAKE_SERVER_MEDIA_MEDIA_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"

namespace longtake::media {

// Frames per second, in lowest terms: 24000/1001 and the like are exact.
struct FrameRate {
  int32_t numerator = 0, denominator = 1;

  // The duration of `frames` frames, and so the time at which frame number `frames` is shown. Computed from the start
  // of the video, so that rounding to Duration's quarter of a nanosecond does not add up.
  absl::Duration TimeOf(int64_t frames) const;

  friend bool operator==(const FrameRate&, const FrameRate&) = default;
};

// The rate that a decimal number means: whole numbers, the n * 1000 / 1001 of television (23.976, 29.97, 59.94), else
// the nearest thousandth. InvalidArgument outside 0.001 ... 1000.
absl::StatusOr<FrameRate> FrameRateFrom(double frames_per_second);

struct StreamFormat {
  int width = 0, height = 0;  // pixels, even
  FrameRate rate;
  int64_t frames = 0;  // of the whole video; at least 1
};

// What a player needs before the first chunk. It depends on the format alone and is known before any frame is encoded.
struct Stream {
  StreamFormat format;
  // For HTTP's Content-Type and MediaSource.addSourceBuffer(): `video/mp4; codecs="avc1.64001F"`.
  std::string media_type;
  // ftyp and moov. They hold the H.264 parameter sets and the duration of the whole video. In a file that ends early
  // the duration is that of the video it was to become.
  std::string init_segment;
};

// InvalidArgument names the field at fault. Internal: x264 refuses the format; the message says why. Opens an encoder
// for a moment, which takes about as long as encoding a frame.
absl::StatusOr<Stream> DescribeStream(const StreamFormat& format);

// One CMAF chunk: a moof and its mdat. It can be decoded when the chunks before it in its block have been.
struct Chunk {
  std::string bytes;
  int64_t first_frame = 0;  // index in the video
  int frames = 0;
  bool starts_with_key_frame = false;  // true for a block's first chunk, and only for that
};

struct X264Option;

// Encodes one block. Its bytes depend on the stream's format, the index of the block's first frame, the frames and
// where chunks are cut, and on nothing else: not on other blocks, threads, time or the kind of processor. The encoded
// pictures do not depend on where chunks are cut either.
//
// Not thread-safe: one thread at a time. Different encoders are independent.
class BlockEncoder {
 public:
  // `first_frame` is the index in the video of the block's first frame. InvalidArgument: it is outside the video.
  // Internal: x264 fails, or gives other parameter sets than those in the stream's init segment.
  static absl::StatusOr<std::unique_ptr<BlockEncoder>> Open(const Stream& stream, int64_t first_frame);
  ~BlockEncoder();

  // Encodes the block's next frames as one chunk: 8-bit 4:2:0, BT.709, limited range, planes y, u, v one after the
  // other. No frame is held back. InvalidArgument, with nothing encoded: not a whole number of frames, none, or more
  // than the video has. After any other error the block must be encoded again from its first frame, by a new encoder;
  // this one then returns the same error to every call.
  absl::StatusOr<Chunk> Encode(absl::Span<const uint8_t> frames);

 private:
  friend class BlockEncoderTest;  // opens encoders with options that make x264 fail
  struct Impl;
  static absl::StatusOr<std::unique_ptr<BlockEncoder>> Open(const Stream& stream, int64_t first_frame,
                                                            absl::Span<const X264Option> more);
  explicit BlockEncoder(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace longtake::media

#endif  // LONGTAKE_SERVER_MEDIA_MEDIA_H_
