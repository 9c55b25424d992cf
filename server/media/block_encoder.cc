#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/media/boxes.h"
#include "server/media/media.h"
#include "server/media/x264_encoder.h"

namespace longtake::media {

struct BlockEncoder::Impl {
  absl::StatusOr<Chunk> Encode(absl::Span<const uint8_t> pixels, size_t frame_bytes);

  StreamFormat format;
  std::unique_ptr<X264Encoder> encoder;
  int64_t first_frame = 0, next_frame = 0;  // indices in the video
  absl::Status status;
};

BlockEncoder::BlockEncoder(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
BlockEncoder::~BlockEncoder() = default;

absl::StatusOr<std::unique_ptr<BlockEncoder>> BlockEncoder::Open(const Stream& stream, int64_t first_frame) {
  return Open(stream, first_frame, {});
}

absl::StatusOr<std::unique_ptr<BlockEncoder>> BlockEncoder::Open(const Stream& stream, int64_t first_frame,
                                                                 absl::Span<const X264Option> more) {
  if (first_frame < 0 || first_frame >= stream.format.frames) {
    return absl::InvalidArgumentError(
        absl::StrCat("first frame: ", first_frame, " is outside the video of ", stream.format.frames, " frames"));
  }
  auto impl = std::make_unique<Impl>();
  impl->format = stream.format;
  impl->first_frame = impl->next_frame = first_frame;
  ASSIGN_OR_RETURN(impl->encoder, X264Encoder::Open(stream.format, more));
  // A player configures its decoder once, from the init segment. It may have been stored by another build of x264.
  if (InitSegment(stream.format, impl->encoder->parameter_sets()) != stream.init_segment) {
    return absl::InternalError("x264's parameter sets differ from those in the video's init segment");
  }
  return std::unique_ptr<BlockEncoder>(new BlockEncoder(std::move(impl)));
}

absl::StatusOr<Chunk> BlockEncoder::Encode(absl::Span<const uint8_t> frames) {
  Impl& impl = *impl_;
  RETURN_IF_ERROR(impl.status);
  const size_t frame_bytes = FrameBytes(impl.format);
  if (frames.empty() || frames.size() % frame_bytes != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(frames.size(), " bytes are not a whole number of frames of ", frame_bytes));
  }
  const auto count = static_cast<int64_t>(frames.size() / frame_bytes);
  if (count > impl.format.frames - impl.next_frame) {
    return absl::InvalidArgumentError(absl::StrCat("frames ", impl.next_frame, " to ", impl.next_frame + count - 1,
                                                   " of a video of ", impl.format.frames));
  }
  absl::StatusOr<Chunk> chunk = impl.Encode(frames, frame_bytes);
  impl.status = chunk.status();
  return chunk;
}

absl::StatusOr<Chunk> BlockEncoder::Impl::Encode(absl::Span<const uint8_t> pixels, size_t frame_bytes) {
  Chunk chunk = {.first_frame = next_frame, .starts_with_key_frame = next_frame == first_frame};
  std::string samples;
  std::vector<uint32_t> sample_bytes;
  for (size_t offset = 0; offset < pixels.size(); offset += frame_bytes, ++next_frame) {
    const size_t before = samples.size();
    RETURN_IF_ERROR(encoder->Encode(pixels.subspan(offset, frame_bytes), next_frame == first_frame, samples));
    sample_bytes.push_back(static_cast<uint32_t>(samples.size() - before));
  }
  chunk.frames = static_cast<int>(sample_bytes.size());
  chunk.bytes = FragmentHeader({.rate = format.rate,
                                .first_frame = chunk.first_frame,
                                .starts_with_key_frame = chunk.starts_with_key_frame,
                                .sample_bytes = sample_bytes});
  chunk.bytes += samples;
  return chunk;
}

}  // namespace longtake::media
