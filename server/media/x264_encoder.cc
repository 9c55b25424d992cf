#include "server/media/x264_encoder.h"

#include <cstdarg>
#include <cstdio>
#include <utility>

extern "C" {
#include <x264.h>
}

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/status_macros.h"

namespace longtake::media {
namespace {

constexpr X264Option kOptions[] = {
    // The bytes must not depend on the machine. With more threads, the number of slices and so the bytes would depend
    // on
    // the number of threads. Where the processor allows it, x264 would take other algorithms that decide otherwise.
    {"threads", "1"},
    {"cpu-independent", "1"},
    // The only key frame is the first one of the block, which Encode asks for.
    {"keyint", "infinite"},
    {"scenecut", "0"},
    // A key frame shows at once what the frames before it have left out, so the picture jumps a little where a block
    // begins. These options keep that small. They were chosen by the border ratio, the mean difference of neighbouring
    // frames across block borders over that inside blocks, of twelve videos of 11 s of the bundled model. It is 1.022
    // before encoding. With `crf` 18 alone it is 1.313 (22 kB/s), with 14 it is 1.210 (38 kB/s). Keeping small
    // coefficients and colour gives 1.104 at 18 (46 kB/s).
    {"crf", "18"},
    {"deadzone-inter", "0"},
    {"deadzone-intra", "6"},
    {"no-dct-decimate", "1"},
    {"chroma-qp-offset", "-6"},
    // The finer the key frame, the less is left to correct for the frames after it: 1.075 (49 kB/s) with 4 instead of
    // 1.4. With it, `crf` would give 1.106 at 20 (38 kB/s) and 1.049 at 16 (64 kB/s).
    {"ipratio", "4"},
    {"colorprim", "bt709"},
    {"transfer", "bt709"},
    {"colormatrix", "bt709"},
    {"fullrange", "off"},
    {"chromaloc", "0"},  // beside the left of two luma columns
};

// An access unit delimiter of a picture with I slices only, behind its length.
constexpr char kDelimiter[] = {0, 0, 0, 2, 0x09, 0x10};

// Whether a format's size and rate are within level 3.1 (H.264, table A-1): 3600 macroblocks of 16 x 16 pixels a frame,
// 108,000 a second.
bool IsWithinLevel31(const StreamFormat& format) {
  const int64_t macroblocks = int64_t{(format.width + 15) / 16} * ((format.height + 15) / 16);
  return macroblocks <= 3600 && macroblocks * format.rate.numerator <= int64_t{108'000} * format.rate.denominator;
}

// `text` collects what x264 reports as errors.
void Log(void* text, int level, const char* format, va_list arguments) {
  if (level > X264_LOG_ERROR) return;
  char line[512];
  std::vsnprintf(line, sizeof(line), format, arguments);
  absl::StrAppend(static_cast<std::string*>(text), ": ", absl::StripSuffix(line, "\n"));
}

// x264 writes to stderr, and not here, that it has got no memory.
std::string WhyOf(const std::string& log) { return log.empty() ? ", as where it gets no memory" : log; }

struct Parameters : x264_param_t {
  Parameters() : x264_param_t() {}
  ~Parameters() { x264_param_cleanup(this); }
  Parameters(const Parameters&) = delete;
  Parameters& operator=(const Parameters&) = delete;
};

struct CloseEncoder {
  void operator()(x264_t* encoder) const { x264_encoder_close(encoder); }
};

absl::Status Set(x264_param_t& parameters, const X264Option& option) {
  const int code = x264_param_parse(&parameters, option.name, option.value);
  if (code == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("x264's option ", option.name, "=", option.value, ": ",
                                          code == X264_PARAM_BAD_NAME ? "there is no such option" : "invalid value"));
}

}  // namespace

struct X264Encoder::Impl {
  StreamFormat format;
  ParameterSets sets;
  std::string log;  // errors of the current call; its address is given to x264
  std::unique_ptr<x264_t, CloseEncoder> encoder;
  int64_t frames = 0;
};

X264Encoder::X264Encoder(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
X264Encoder::~X264Encoder() = default;

const ParameterSets& X264Encoder::parameter_sets() const { return impl_->sets; }

size_t FrameBytes(const StreamFormat& format) {
  const size_t pixels = static_cast<size_t>(format.width) * format.height;
  return pixels + pixels / 2;
}

absl::StatusOr<std::unique_ptr<X264Encoder>> X264Encoder::Open(const StreamFormat& format,
                                                               absl::Span<const X264Option> more) {
  auto impl = std::make_unique<Impl>();
  impl->format = format;
  Parameters parameters;
  // zerolatency: no lookahead and no B-frames, so that each frame's packet is returned by the call that encodes it.
  if (x264_param_default_preset(&parameters, "veryfast", "zerolatency") != 0) {
    return absl::InternalError("x264 has no preset veryfast with tune zerolatency");
  }
  parameters.pf_log = Log;
  parameters.p_log_private = &impl->log;
  parameters.i_csp = X264_CSP_I420;
  parameters.i_bitdepth = 8;
  parameters.i_width = format.width;
  parameters.i_height = format.height;
  parameters.i_fps_num = parameters.i_timebase_den = format.rate.numerator;
  parameters.i_fps_den = parameters.i_timebase_num = format.rate.denominator;
  // By size and rate alone x264 would declare level 1.1 for 256x160, which allows 240 kbit/s; videos of that size have
  // 400. Level 3.1 allows 17.5 Mbit/s. Larger formats get the level that x264 finds.
  if (IsWithinLevel31(format)) parameters.i_level_idc = 31;
  // Names of files that only encoding in two passes uses. x264 copies them and leaks the copies when it does not open.
  parameters.rc.psz_stat_in = parameters.rc.psz_stat_out = nullptr;
  parameters.b_repeat_headers = 0;  // the parameter sets are in the init segment
  parameters.b_annexb = 0;          // lengths before NAL units, as in MP4, instead of start codes
  for (const X264Option& option : kOptions) RETURN_IF_ERROR(Set(parameters, option));
  for (const X264Option& option : more) RETURN_IF_ERROR(Set(parameters, option));

  impl->encoder.reset(x264_encoder_open(&parameters));
  if (!impl->encoder) return absl::InternalError(absl::StrCat("x264 did not open", WhyOf(impl->log)));
  x264_nal_t* units = nullptr;
  int count = 0;
  if (x264_encoder_headers(impl->encoder.get(), &units, &count) < 0) {
    return absl::InternalError(absl::StrCat("getting x264's parameter sets", impl->log));
  }
  for (int i = 0; i < count; ++i) {
    const std::string unit(reinterpret_cast<const char*>(units[i].p_payload) + 4, units[i].i_payload - 4);
    // The third unit is an SEI with x264's version and options, which no decoder needs: 700 bytes.
    if (units[i].i_type == NAL_SPS) impl->sets.sps = unit;
    if (units[i].i_type == NAL_PPS) impl->sets.pps = unit;
  }
  if (impl->sets.sps.size() < 4 || impl->sets.pps.empty()) return absl::InternalError("x264 gave no parameter sets");
  return std::unique_ptr<X264Encoder>(new X264Encoder(std::move(impl)));
}

absl::Status X264Encoder::Encode(absl::Span<const uint8_t> frame, bool key_frame, std::string& out) {
  Impl& impl = *impl_;
  impl.log.clear();
  const size_t pixels = static_cast<size_t>(impl.format.width) * impl.format.height;
  auto* y = const_cast<uint8_t*>(frame.data());  // x264 copies the planes and does not write to them
  x264_picture_t picture, encoded;
  x264_picture_init(&picture);
  picture.i_type = key_frame ? X264_TYPE_IDR : X264_TYPE_P;
  picture.i_pts = impl.frames;
  picture.img = {.i_csp = X264_CSP_I420,
                 .i_plane = 3,
                 .i_stride = {impl.format.width, impl.format.width / 2, impl.format.width / 2},
                 .plane = {y, y + pixels, y + pixels + pixels / 4}};
  x264_nal_t* units = nullptr;
  int count = 0;
  const int bytes = x264_encoder_encode(impl.encoder.get(), &units, &count, &picture, &encoded);
  if (bytes < 0) {
    return absl::InternalError(absl::StrCat("x264 failed at frame ", impl.frames, " of a block", WhyOf(impl.log)));
  }
  if (bytes == 0 || encoded.i_pts != impl.frames) {
    return absl::InternalError(absl::StrCat("x264 held back frame ", impl.frames, " of a block"));
  }
  // Every encoder gives its IDR frame the idr_pic_id 0. Where a block has one frame, two IDR frames follow each other,
  // and the standard tells their slices apart by different ids (7.4.1.2.4) or by a delimiter.
  if (key_frame) out.append(kDelimiter, sizeof(kDelimiter));
  out.append(reinterpret_cast<const char*>(units[0].p_payload), bytes);  // x264 puts the units next to each other
  ++impl.frames;
  return absl::OkStatus();
}

}  // namespace longtake::media
