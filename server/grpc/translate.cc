#include "server/grpc/translate.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/grpc/status.h"

namespace longtake::server {
namespace {

constexpr int64_t kNanos = 1'000'000'000;

v1::StageDurations ToProto(const Stages& stages) {
  v1::StageDurations out;
  *out.mutable_text() = server::ToProto(stages.text);
  *out.mutable_denoise() = server::ToProto(stages.denoise);
  *out.mutable_commit() = server::ToProto(stages.commit);
  *out.mutable_decode() = server::ToProto(stages.decode);
  *out.mutable_encode() = server::ToProto(stages.encode);
  return out;
}

v1::BlockReport ToProto(const BlockReport& report) {
  v1::BlockReport out;
  *out.mutable_stages() = ToProto(report.stages);
  *out.mutable_start_offset() = server::ToProto(report.start);
  *out.mutable_denoise_offset() = server::ToProto(report.denoise);
  *out.mutable_commit_offset() = server::ToProto(report.commit);
  *out.mutable_decode_offset() = server::ToProto(report.decode);
  *out.mutable_finish_offset() = server::ToProto(report.finish);
  return out;
}

v1::Progress::Stage StageOf(scheduler::PassKind kind) {
  switch (kind) {
    case scheduler::PassKind::kEncodePrompt:
      return v1::Progress::STAGE_TEXT;
    case scheduler::PassKind::kDenoise:
      return v1::Progress::STAGE_DENOISE;
    case scheduler::PassKind::kCommit:
      return v1::Progress::STAGE_COMMIT;
    case scheduler::PassKind::kDecode:
      return v1::Progress::STAGE_DECODE;
    case scheduler::PassKind::kSave:
    case scheduler::PassKind::kRestore:
      break;  // no progress of the video
  }
  return v1::Progress::STAGE_UNSPECIFIED;
}

void Fill(const Accepted& accepted, v1::WatchVideoResponse& out) {
  *out.mutable_accepted()->mutable_video() = server::ToProto(accepted.video);
  *out.mutable_accepted()->mutable_quote() = server::ToProto(accepted.quote, accepted.video.plan->options.delivery);
  out.mutable_accepted()->set_media_type(accepted.media_type);
}

void Fill(const InitSegment&, v1::WatchVideoResponse& out) { out.mutable_init_segment(); }

void Fill(const Waiting& waiting, v1::WatchVideoResponse& out) {
  out.mutable_waiting()->set_position(waiting.position);
}

void Fill(const Progress& progress, v1::WatchVideoResponse& out) {
  out.mutable_progress()->set_stage(StageOf(progress.kind));
  out.mutable_progress()->set_block(progress.block);
  out.mutable_progress()->set_step(progress.step);
  out.mutable_progress()->set_step_count(progress.steps);
  out.mutable_progress()->set_done_ratio(progress.done);
}

void Fill(const PromptChanged& changed, v1::WatchVideoResponse& out) {
  out.mutable_prompt_changed()->set_prompt(changed.prompt);
  out.mutable_prompt_changed()->set_block(changed.block);
  *out.mutable_prompt_changed()->mutable_pts_offset() = server::ToProto(changed.pts);
  if (changed.tokens.given == 0) return;
  out.mutable_prompt_changed()->mutable_tokens()->set_given(static_cast<int32_t>(changed.tokens.given));
  out.mutable_prompt_changed()->mutable_tokens()->set_used(static_cast<int32_t>(changed.tokens.used));
}

void Fill(const Chunk& chunk, v1::WatchVideoResponse& out) { *out.mutable_chunk() = server::ToProto(chunk, 0, 1, 0); }

void Fill(const Finished& finished, v1::WatchVideoResponse& out) {
  v1::Finished& done = *out.mutable_finished();
  done.set_frame_count(finished.frames);
  *done.mutable_duration() = server::ToProto(finished.duration);
  done.set_chunk_count(finished.chunks);
  done.set_size_bytes(finished.size_bytes);
  *done.mutable_stages() = ToProto(finished.stages);
  *done.mutable_wait_duration() = server::ToProto(finished.waited);
}

void RefuseNumber(std::string field, int number, std::vector<FieldError>& errors) {
  errors.push_back({std::move(field), absl::StrCat("unknown value ", number)});
}

}  // namespace

// By google/protobuf/duration.proto: at most 10,000 years, and nanoseconds of the seconds' sign.
absl::Duration FromProto(const google::protobuf::Duration& duration, std::string field,
                         std::vector<FieldError>& errors) {
  constexpr int64_t kMostSeconds = 315'576'000'000;
  const int64_t seconds = duration.seconds(), nanos = duration.nanos();
  const bool signs_differ = (seconds > 0 && nanos < 0) || (seconds < 0 && nanos > 0);
  if (seconds > kMostSeconds || seconds < -kMostSeconds || nanos >= kNanos || nanos <= -kNanos || signs_differ) {
    errors.push_back({std::move(field), absl::StrCat(seconds, " s and ", nanos, " ns are no duration")});
    return absl::ZeroDuration();
  }
  return absl::Seconds(seconds) + absl::Nanoseconds(nanos);
}

google::protobuf::Duration ToProto(absl::Duration duration) {
  // The nearest nanosecond: absl counts quarters.
  const int64_t nanos =
      absl::ToInt64Nanoseconds(duration + absl::Nanoseconds(duration < absl::ZeroDuration() ? -1 : 1) / 2);
  google::protobuf::Duration out;
  out.set_seconds(nanos / kNanos);
  out.set_nanos(static_cast<int32_t>(nanos % kNanos));
  return out;
}

google::protobuf::Timestamp ToProto(absl::Time time) {
  const int64_t nanos = absl::ToUnixNanos(time);
  google::protobuf::Timestamp out;
  out.set_seconds(nanos / kNanos);
  out.set_nanos(static_cast<int32_t>(nanos % kNanos));
  return out;
}

v1::FrameRate ToProto(const media::FrameRate& rate) {
  v1::FrameRate out;
  out.set_numerator(rate.numerator);
  out.set_denominator(rate.denominator);
  return out;
}

v1::Size ToProto(Size size) {
  v1::Size out;
  out.set_width(size.width);
  out.set_height(size.height);
  return out;
}

v1::Decoder ToProto(DecoderKind decoder) { return decoder == DecoderKind::kTiny ? v1::DECODER_TINY : v1::DECODER_FULL; }

v1::Quote ToProto(const scheduler::Quote& quote, scheduler::Delivery delivery) {
  v1::Quote out;
  if (quote.first_chunk < absl::InfiniteDuration()) {
    out.set_commitment(delivery == scheduler::Delivery::kLive ? v1::Quote::COMMITMENT_PROMISE
                                                              : v1::Quote::COMMITMENT_ESTIMATE);
    *out.mutable_start_delay() = ToProto(quote.start);
    *out.mutable_first_chunk_delay() = ToProto(quote.first_chunk);
    *out.mutable_last_chunk_delay() = ToProto(quote.last_chunk);
  }
  out.set_kept_ratio(quote.confidence);
  out.set_queue_length(quote.waiting);
  return out;
}

v1::VideoSpec ToProto(const VideoSpec& spec) {
  v1::VideoSpec out;
  out.set_prompt(spec.prompt);
  out.set_negative_prompt(spec.negative_prompt);
  if (spec.seed.has_value()) out.set_seed(*spec.seed);
  if (spec.size.has_value()) *out.mutable_size() = ToProto(*spec.size);
  *out.mutable_duration() = ToProto(spec.duration);
  out.set_model(spec.model);
  for (const PromptChange& change : spec.prompt_changes) {
    v1::PromptChange& each = *out.add_prompt_changes();
    each.set_prompt(change.prompt);
    if (change.at.has_value()) *each.mutable_at_offset() = ToProto(*change.at);
  }
  for (const Adapter& adapter : spec.adapters) {
    v1::Adapter& each = *out.add_adapters();
    each.set_name(adapter.name);
    each.set_strength(adapter.strength);
  }
  out.set_decoder(ToProto(spec.decoder));
  return out;
}

v1::DeliveryOptions ToProto(const DeliveryOptions& options) {
  v1::DeliveryOptions out;
  out.set_delivery(options.delivery == scheduler::Delivery::kLive ? v1::DELIVERY_LIVE : v1::DELIVERY_OFFLINE);
  if (options.max_wait.has_value()) *out.mutable_max_wait_duration() = ToProto(*options.max_wait);
  if (options.max_lead.has_value()) *out.mutable_max_lead_duration() = ToProto(*options.max_lead);
  out.set_fidelity(options.fidelity == Fidelity::kFull ? v1::FIDELITY_FULL : v1::FIDELITY_ADAPTIVE);
  out.set_priority(options.priority);
  if (options.disconnect.has_value()) {
    out.set_disconnect_policy(*options.disconnect == Disconnect::kCancel     ? v1::DISCONNECT_POLICY_CANCEL
                              : *options.disconnect == Disconnect::kContinue ? v1::DISCONNECT_POLICY_CONTINUE
                                                                             : v1::DISCONNECT_POLICY_PAUSE);
  }
  if (options.reconnect_timeout.has_value()) *out.mutable_reconnect_timeout() = ToProto(*options.reconnect_timeout);
  return out;
}

v1::VideoFormat FormatOf(const VideoPlan& plan) {
  v1::VideoFormat out;
  *out.mutable_size() = ToProto(plan.session.size);
  *out.mutable_frame_rate() = ToProto(plan.rate);
  out.set_frame_count(plan.frames());
  *out.mutable_duration() = ToProto(plan.rate.TimeOf(plan.frames()));
  for (int frames : plan.block_frames) out.add_block_frame_counts(frames);
  return out;
}

v1::Video ToProto(const VideoInfo& video) {
  v1::Video out;
  out.set_name(video.name);
  // The states have the same order.
  out.set_state(static_cast<v1::Video::State>(static_cast<int>(video.state) + 1));
  *out.mutable_spec() = ToProto(video.plan->spec);
  *out.mutable_delivery_options() = ToProto(video.plan->options);
  out.set_request_id(video.request_id);
  *out.mutable_format() = FormatOf(*video.plan);
  out.set_numerics_id(video.numerics_id);
  out.set_denoise_steps(video.denoise_steps);
  *out.mutable_create_time() = ToProto(video.create_time);
  if (video.start_time.has_value()) *out.mutable_start_time() = ToProto(*video.start_time);
  if (video.end_time.has_value()) *out.mutable_end_time() = ToProto(*video.end_time);
  out.mutable_progress()->set_block_count(video.blocks);
  *out.mutable_progress()->mutable_duration() = ToProto(video.plan->BlockStart(video.blocks));
  out.mutable_progress()->set_size_bytes(video.size_bytes);
  out.mutable_progress()->set_viewer_count(video.viewers);
  if (!video.error.ok()) *out.mutable_error() = ToRpc(video.error);
  return out;
}

v1::Chunk ToProto(const Chunk& chunk, int part, int parts, int64_t size) {
  v1::Chunk out;
  out.set_block(chunk.block);
  out.set_index(chunk.index);
  out.set_last_in_block(chunk.last_in_block());
  out.set_starts_with_key_frame(chunk.starts_with_key_frame);
  out.set_part(part);
  out.set_part_count(parts);
  out.set_size_bytes(size);
  out.set_first_frame(chunk.first_frame);
  out.set_frame_count(chunk.frames);
  *out.mutable_pts_offset() = ToProto(chunk.pts);
  *out.mutable_duration() = ToProto(chunk.duration);
  out.set_denoise_steps(chunk.denoise_steps);
  out.set_prompt(chunk.prompt);
  out.set_decoder(ToProto(chunk.decoder));
  if (chunk.report.has_value() && part + 1 == parts) *out.mutable_report() = ToProto(*chunk.report);
  return out;
}

v1::WatchVideoResponse ToProto(const Event& event) {
  v1::WatchVideoResponse out;
  *out.mutable_elapsed_duration() = ToProto(event.elapsed);
  std::visit([&out](const auto& body) { Fill(body, out); }, event.body);
  return out;
}

v1::Model ToProto(const ModelInfo& model, const RequestLimits& limits) {
  const media::FrameRate rate = media::FrameRateFrom(model.fps).value_or(media::FrameRate{});
  v1::Model out;
  out.set_name(ModelName(model));
  for (const Size& size : model.sizes) *out.add_sizes() = ToProto(size);
  *out.mutable_frame_rate() = ToProto(rate);
  *out.mutable_max_duration() = ToProto(rate.TimeOf(FramesOf(model, model.max_latent_frames)));
  if (model.block_latent_frames > 0) {
    *out.mutable_block_duration() = ToProto(rate.TimeOf(int64_t{model.block_latent_frames} * model.frames_per_latent));
  }
  out.set_denoise_steps(model.denoise_steps);
  for (int steps : model.step_ladder) out.add_step_ladder(steps);
  out.set_sampler(model.sampler);
  out.set_numerics_id(model.numerics_id);
  out.set_accepts_first_image(model.accepts_first_image);
  out.set_accepts_negative_prompt(model.accepts_negative_prompt);
  out.set_switches_prompt(model.switches_prompt);
  out.set_max_prompt_bytes(limits.max_prompt_bytes);
  out.set_max_prompt_changes(model.switches_prompt ? limits.max_prompt_changes : 0);
  out.set_max_first_image_bytes(model.accepts_first_image ? limits.max_first_image_bytes : 0);
  out.set_about(model.about);
  for (const std::string& example : model.examples) out.add_examples(example);
  for (const AdapterInfo& adapter : model.adapters) out.add_adapters(adapter.name);
  out.add_decoders(v1::DECODER_FULL);
  if (model.has_tiny_decoder) out.add_decoders(v1::DECODER_TINY);
  return out;
}

PromptChange FromProto(const v1::PromptChange& change, const std::string& path, std::vector<FieldError>& errors) {
  PromptChange out{.prompt = change.prompt()};
  if (change.has_at_offset()) out.at = FromProto(change.at_offset(), absl::StrCat(path, ".at_offset"), errors);
  return out;
}

VideoSpec FromProto(const v1::VideoSpec& spec, const std::string& path, std::vector<FieldError>& errors) {
  VideoSpec out;
  out.prompt = spec.prompt();
  out.negative_prompt = spec.negative_prompt();
  if (spec.has_seed()) out.seed = spec.seed();
  if (spec.has_size()) out.size = Size{spec.size().width(), spec.size().height()};
  out.duration = FromProto(spec.duration(), absl::StrCat(path, ".duration"), errors);
  out.first_image = spec.first_image();
  out.model = spec.model();
  for (int i = 0; i < spec.prompt_changes_size(); ++i) {
    out.prompt_changes.push_back(
        FromProto(spec.prompt_changes(i), absl::StrCat(path, ".prompt_changes[", i, "]"), errors));
  }
  for (const v1::Adapter& adapter : spec.adapters()) {
    out.adapters.push_back({adapter.name(), adapter.has_strength() ? adapter.strength() : 1});
  }
  switch (spec.decoder()) {
    case v1::DECODER_UNSPECIFIED:
    case v1::DECODER_FULL:
      break;
    case v1::DECODER_TINY:
      out.decoder = DecoderKind::kTiny;
      break;
    default:
      RefuseNumber(absl::StrCat(path, ".decoder"), spec.decoder(), errors);
  }
  return out;
}

DeliveryOptions FromProto(const v1::DeliveryOptions& options, const std::string& path,
                          std::vector<FieldError>& errors) {
  const auto field = [&](const char* name) { return absl::StrCat(path, ".", name); };
  DeliveryOptions out;
  switch (options.delivery()) {
    case v1::DELIVERY_UNSPECIFIED:
    case v1::DELIVERY_LIVE:
      break;
    case v1::DELIVERY_OFFLINE:
      out.delivery = scheduler::Delivery::kOffline;
      break;
    default:
      RefuseNumber(field("delivery"), options.delivery(), errors);
  }
  if (options.has_max_wait_duration()) {
    out.max_wait = FromProto(options.max_wait_duration(), field("max_wait_duration"), errors);
  }
  if (options.has_max_lead_duration()) {
    out.max_lead = FromProto(options.max_lead_duration(), field("max_lead_duration"), errors);
  }
  switch (options.fidelity()) {
    case v1::FIDELITY_UNSPECIFIED:
    case v1::FIDELITY_FULL:
      break;
    case v1::FIDELITY_ADAPTIVE:
      out.fidelity = Fidelity::kAdaptive;
      break;
    default:
      RefuseNumber(field("fidelity"), options.fidelity(), errors);
  }
  out.priority = options.priority();
  switch (options.disconnect_policy()) {
    case v1::DISCONNECT_POLICY_UNSPECIFIED:
      break;
    case v1::DISCONNECT_POLICY_CANCEL:
      out.disconnect = Disconnect::kCancel;
      break;
    case v1::DISCONNECT_POLICY_CONTINUE:
      out.disconnect = Disconnect::kContinue;
      break;
    case v1::DISCONNECT_POLICY_PAUSE:
      out.disconnect = Disconnect::kPause;
      break;
    default:
      RefuseNumber(field("disconnect_policy"), options.disconnect_policy(), errors);
  }
  if (options.has_reconnect_timeout()) {
    out.reconnect_timeout = FromProto(options.reconnect_timeout(), field("reconnect_timeout"), errors);
  }
  return out;
}

}  // namespace longtake::server
