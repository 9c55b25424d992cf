// What the tests of server/media/ share: pictures to encode, a reader of boxes, and ffmpeg's view of a file.
#ifndef LONGTAKE_TESTS_MEDIA_SUPPORT_H_
#define LONGTAKE_TESTS_MEDIA_SUPPORT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/media/media.h"

namespace longtake::media {

// Frames `first` ... `first + count - 1` of a video in which a bright bar moves, so that frames refer to others.
std::vector<uint8_t> MovingBar(const StreamFormat& format, int64_t first, int count);

// The same of a shaded scene that stands still except for a shimmer of about one level, as a decoder of latents gives
// it: what moves in the encoded video moves because of the encoder.
std::vector<uint8_t> StillScene(const StreamFormat& format, int64_t first, int count);

using Pictures = decltype(MovingBar);

// A block of chunks of the given numbers of frames.
std::vector<Chunk> EncodeBlock(const Stream& stream, int64_t first_frame, const std::vector<int>& chunks,
                               const Pictures& pictures = MovingBar);

// A video: for each block its chunks' numbers of frames.
std::vector<std::vector<Chunk>> EncodeVideo(const Stream& stream, const std::vector<std::vector<int>>& blocks,
                                            const Pictures& pictures = MovingBar);

// The stream of a format that must be valid.
Stream Describe(const StreamFormat& format);

std::string Join(const std::vector<Chunk>& chunks);
// Init segment and chunks.
std::string File(const Stream& stream, const std::vector<std::vector<Chunk>>& blocks);

// A box and what it contains, as far as it is a container.
struct Box {
  std::string type;
  std::string body;  // without size and type
  std::vector<Box> children;
};
std::vector<Box> ParseBoxes(absl::string_view bytes);
// Follows a path such as "moof/traf/trun" to the first box of each type; fails the test where there is none.
const Box& Find(const std::vector<Box>& boxes, absl::string_view path);
// `bytes` bytes at `offset` of a body, big-endian.
uint64_t Number(absl::string_view body, size_t offset, int bytes);

// What a shell command prints. `before` and `after` surround the name of a file with the given bytes.
std::string Run(const std::string& bytes, const std::string& before, const std::string& after);
// What ffprobe prints, warnings included, one line for each frame or stream.
std::vector<std::string> Probe(const std::string& bytes, const std::string& arguments);

}  // namespace longtake::media

#endif  // LONGTAKE_TESTS_MEDIA_SUPPORT_H_
