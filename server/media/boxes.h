// The boxes of fragmented MP4 (ISO/IEC 14496-12, 14496-15; CMAF is ISO/IEC 23000-19) for one H.264 track in which every
// frame lasts equally long and frames are shown in the order in which they are decoded.
//
// They are written here and not by libavformat because its muxer writes no mehd box, without which a fragmented file
// has no duration, and keeps the position of the next fragment to itself. What one such track needs is small and fixed.
#ifndef LONGTAKE_SERVER_MEDIA_BOXES_H_
#define LONGTAKE_SERVER_MEDIA_BOXES_H_

#include <cstdint>
#include <string>

#include "absl/types/span.h"
#include "server/media/media.h"
#include "server/media/x264_encoder.h"

namespace longtake::media {

// ftyp and moov.
std::string InitSegment(const StreamFormat& format, const ParameterSets& sets);

struct Fragment {
  FrameRate rate;
  int64_t first_frame = 0;  // index in the video
  bool starts_with_key_frame = false;
  absl::Span<const uint32_t> sample_bytes;  // of each frame's access unit
};

// A moof and the header of its mdat; the samples' bytes follow it. The sequence number is the first frame's index + 1:
// it is known without the fragments before, and increases as the standard asks for.
std::string FragmentHeader(const Fragment& fragment);

}  // namespace longtake::media

#endif  // LONGTAKE_SERVER_MEDIA_BOXES_H_
