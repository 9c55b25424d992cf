#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/media/boxes.h"
#include "server/media/media.h"
#include "server/media/x264_encoder.h"

namespace longtake::media {
namespace {

absl::Status Check(const StreamFormat& format) {
  if (format.width < 2 || format.height < 2 || format.width % 2 != 0 || format.height % 2 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("size: 4:2:0 pictures have even sides, not ", format.width, "x", format.height));
  }
  const int64_t numerator = format.rate.numerator, denominator = format.rate.denominator;
  if (numerator < 1 || denominator < 1 || numerator > 1000 * denominator || denominator > 1000 * numerator) {
    return absl::InvalidArgumentError(
        absl::StrCat("rate: ", numerator, "/", denominator, " frames per second are not within 0.001 ... 1000"));
  }
  if (format.frames < 1) return absl::InvalidArgumentError(absl::StrCat("frames: ", format.frames));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Stream> DescribeStream(const StreamFormat& format) {
  RETURN_IF_ERROR(Check(format));
  ASSIGN_OR_RETURN(const std::unique_ptr<X264Encoder> encoder, X264Encoder::Open(format));
  const ParameterSets& sets = encoder->parameter_sets();
  Stream stream;
  stream.format = format;
  // RFC 6381: avc1, then profile_idc, the constraint flags and level_idc, the three bytes behind the SPS's NAL header.
  stream.media_type = absl::StrCat("video/mp4; codecs=\"avc1.",
                                   absl::AsciiStrToUpper(absl::BytesToHexString(sets.sps.substr(1, 3))), "\"");
  stream.init_segment = InitSegment(format, sets);
  return stream;
}

}  // namespace longtake::media
