#include "server/video/video_spans.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/time/clock.h"
#include "common/random_bytes.h"

namespace longtake::server {
namespace {

std::string NewSpanId() { return absl::BytesToHexString(RandomBytes(8)); }

// Known before the span is: its parts come first. A name is random numbers, of which it takes the first.
std::string SpanIdOf(const Video& video) { return video.name().substr(video.name().find('/') + 1, 16); }

Span SpanIn(const Video& video, std::string id, std::string parent, std::string name) {
  Span span{.parent_id = std::move(parent), .name = std::move(name)};
  span.context = video.origin().trace;
  span.context.span_id = std::move(id);
  return span;
}

}  // namespace

bool VideoSpans::Records(const Video& video) const { return sink_ != nullptr && video.origin().trace.sampled; }

absl::Time VideoSpans::TimeOf(const Video& video, absl::Duration elapsed) {
  return absl::Now() - (video.elapsed() - elapsed);
}

void VideoSpans::OnAdmitted(const Video& video) const {
  if (!Records(video)) return;
  Span span = SpanIn(video, NewSpanId(), SpanIdOf(video), "queue");
  span.start = TimeOf(video, absl::ZeroDuration());
  span.end = absl::Now();
  sink_->Add(std::move(span));
}

void VideoSpans::OnBlockMade(const Video& video, const BlockReport& report) const {
  if (!Records(video)) return;
  const std::string id = NewSpanId();
  Span whole = SpanIn(video, id, SpanIdOf(video), "block");
  whole.start = TimeOf(video, report.start);
  whole.end = absl::Now();
  whole.attributes = {{"longtake.block", int64_t{video.info().blocks - 1}},
                      {"longtake.denoise_steps", int64_t{report.steps}},
                      {"longtake.video_seconds", report.seconds}};
  sink_->Add(std::move(whole));
  const auto add = [&](const char* name, absl::Duration end, absl::Duration took) {
    if (took <= absl::ZeroDuration()) return;  // a block has no pass of this kind
    Span span = SpanIn(video, NewSpanId(), id, name);
    span.end = TimeOf(video, end);
    span.start = span.end - took;
    sink_->Add(std::move(span));
  };
  // A prompt is encoded before the block's first denoising pass.
  add("encode_prompt", report.start, report.stages.text);
  add("denoise", report.denoise, report.stages.denoise);
  add("commit", report.commit, report.stages.commit);
  add("decode", report.decode, report.stages.decode);
  add("encode", report.finish, report.stages.encode);
  const absl::Duration stored = video.elapsed();
  if (stores_) add("store", stored, stored - report.finish);
}

void VideoSpans::OnClosed(const Video& video, const VideoInfo& info) const {
  if (!Records(video)) return;
  Span span = SpanIn(video, SpanIdOf(video), video.origin().trace.span_id, "video");
  span.start = TimeOf(video, absl::ZeroDuration());
  span.end = absl::Now();
  span.attributes = {{"longtake.video", video.name()},
                     {"longtake.tenant", video.tenant().id},
                     {"longtake.delivery", video.live() ? "live" : "offline"},
                     {"longtake.blocks", int64_t{info.blocks}},
                     {"longtake.outcome", absl::AsciiStrToLower(absl::StatusCodeToString(info.error.code()))}};
  span.error = std::string(info.error.message());
  sink_->Add(std::move(span));
}

}  // namespace longtake::server
