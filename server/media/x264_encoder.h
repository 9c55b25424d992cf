// libx264 behind a class: its errors become statuses here, with what it logged.
//
// libx264 is called directly and not through libavcodec, which only warns of an x264 option that does not exist. It
// also returns NAL units with their lengths, as MP4 stores them.
#ifndef LONGTAKE_SERVER_MEDIA_X264_ENCODER_H_
#define LONGTAKE_SERVER_MEDIA_X264_ENCODER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/media/media.h"

namespace longtake::media {

// H.264's sequence and picture parameter set, one NAL unit each, without length or start code.
struct ParameterSets {
  std::string sps, pps;
};

// As on the command line of the program x264.
struct X264Option {
  const char* name;
  const char* value;
};

// Bytes of one frame, 8-bit 4:2:0.
size_t FrameBytes(const StreamFormat& format);

// One coded video sequence: an IDR frame and the frames that follow it. Not thread-safe.
class X264Encoder {
 public:
  // `more` options are set after the room's own; tests break things with them. Internal: x264 does not know an option
  // or refuses the format.
  static absl::StatusOr<std::unique_ptr<X264Encoder>> Open(const StreamFormat& format,
                                                           absl::Span<const X264Option> more = {});
  ~X264Encoder();

  const ParameterSets& parameter_sets() const;

  // Encodes one frame of FrameBytes() and appends its access unit to `out`: NAL units, each behind its length in 4
  // bytes. Internal: x264 fails or returns no frame for this one; `out` is unchanged.
  absl::Status Encode(absl::Span<const uint8_t> frame, bool key_frame, std::string& out);

 private:
  struct Impl;
  explicit X264Encoder(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace longtake::media

#endif  // LONGTAKE_SERVER_MEDIA_X264_ENCODER_H_
