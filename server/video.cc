#include "server/video.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/error.h"
#include "server/translate.h"

namespace longtake::server {
namespace {

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
  }
  return v1::Progress::STAGE_UNSPECIFIED;
}

absl::Status EncoderError(const absl::Status& why) {
  return MakeError(why.code(), std::string(why.message()), {.reason = Reason::kEncoderFailed});
}

}  // namespace

Video::Video(uint64_t id, std::string name, VideoPlan plan, const ModelInfo& model, Context context,
             std::shared_ptr<EventSink> sink)
    : id_(id),
      name_(std::move(name)),
      plan_(std::move(plan)),
      model_name_(model.name),
      numerics_id_(model.numerics_id),
      denoise_steps_(model.denoise_steps),
      context_(std::move(context)),
      sink_(std::move(sink)),
      arrived_(context_.clock->Now()),
      strand_(context_.encoders) {}

v1::StageDurations Video::ToProto(const Stages& stages) {
  v1::StageDurations out;
  *out.mutable_text() = server::ToProto(stages.text);
  *out.mutable_denoise() = server::ToProto(stages.denoise);
  *out.mutable_commit() = server::ToProto(stages.commit);
  *out.mutable_decode() = server::ToProto(stages.decode);
  *out.mutable_encode() = server::ToProto(stages.encode);
  return out;
}

v1::WatchVideoResponse Video::NewEvent() {
  v1::WatchVideoResponse event;
  event.set_resume_token(absl::StrCat(++events_));
  *event.mutable_elapsed_duration() = server::ToProto(Elapsed(context_.clock->Now()));
  return event;
}

void Video::SendAccepted(const scheduler::Quote& quote, const std::string& request_id, absl::Time accepted_at) {
  v1::WatchVideoResponse event = NewEvent();
  v1::Accepted& accepted = *event.mutable_accepted();
  v1::Video& video = *accepted.mutable_video();
  video.set_name(name_);
  video.set_state(v1::Video::STATE_QUEUED);
  *video.mutable_spec() = server::ToProto(plan_.spec);
  *video.mutable_delivery_options() = server::ToProto(plan_.options);
  video.set_request_id(request_id);
  *video.mutable_format() = FormatOf(plan_);
  video.set_numerics_id(numerics_id_);
  video.set_denoise_steps(denoise_steps_);
  *video.mutable_create_time() = server::ToProto(accepted_at);
  *accepted.mutable_quote() = server::ToProto(quote, plan_.options.delivery);
  accepted.set_media_type(context_.stream.media_type);
  sink_->Send(std::move(event));
  v1::WatchVideoResponse init = NewEvent();
  init.mutable_init_segment()->set_data(context_.stream.init_segment);
  sink_->Send(std::move(init));
}

void Video::OnWaiting(int position) {
  v1::WatchVideoResponse event = NewEvent();
  event.mutable_waiting()->set_position(position);
  sink_->Send(std::move(event));
}

void Video::OnAdmitted() {
  admitted_ = true;
  waited_ = Elapsed(context_.clock->Now());
}

void Video::OnPass(const scheduler::PassReport& report) {
  const absl::Duration took = absl::Seconds(report.device_seconds);
  switch (report.kind) {
    case scheduler::PassKind::kEncodePrompt:
      stages_.text += took;
      prompt_ = report.prompt;
      {
        v1::WatchVideoResponse event = NewEvent();
        event.mutable_prompt_changed()->set_prompt(report.prompt);
        event.mutable_prompt_changed()->set_block(report.block);
        *event.mutable_prompt_changed()->mutable_pts_offset() = server::ToProto(plan_.BlockStart(report.block));
        sink_->Send(std::move(event));
      }
      break;
    case scheduler::PassKind::kDenoise:
      if (report.step == 1) {
        offsets_.start = Elapsed(report.started);
        making_ = {.steps = report.steps, .prompt = prompt_};
      }
      offsets_.denoise = Elapsed(report.ended);
      stages_.denoise += took;
      break;
    case scheduler::PassKind::kCommit:
      offsets_.commit = Elapsed(report.ended);
      stages_.commit += took;
      committed_ = making_;
      break;
    case scheduler::PassKind::kDecode:
      offsets_.decode = Elapsed(report.ended);
      stages_.decode += took;
      break;
  }
  v1::WatchVideoResponse event = NewEvent();
  v1::Progress& progress = *event.mutable_progress();
  progress.set_stage(StageOf(report.kind));
  progress.set_block(report.block);
  progress.set_step(report.step);
  progress.set_step_count(report.steps);
  progress.set_done_ratio(static_cast<double>(report.passes_done) / report.passes);
  sink_->SendProgress(std::move(event));
}

void Video::OnFrames(DecodedFrames frames) {
  // shared_ptr: std::function copies what it holds.
  auto shared = std::make_shared<DecodedFrames>(std::move(frames));
  // A block's decodes come after its commit and before the next one, so `committed_` is theirs and stands still.
  strand_.Post([self = shared_from_this(), shared, making = committed_] { self->Encode(*shared, making); });
}

void Video::OnBlock(int) {
  strand_.Post([self = shared_from_this(), stages = std::exchange(stages_, {}), offsets = std::exchange(offsets_, {})] {
    self->FinishBlock(stages, offsets);
  });
}

void Video::OnEnded(const absl::Status& status) {
  // Behind the frames on the strand: no finished chunk is lost.
  strand_.Post([self = shared_from_this(), status] {
    if (status.ok() && !self->failed_) {
      v1::WatchVideoResponse event = self->NewEvent();
      v1::Finished& finished = *event.mutable_finished();
      finished.set_frame_count(self->plan_.frames());
      *finished.mutable_duration() = server::ToProto(self->plan_.rate.TimeOf(self->plan_.frames()));
      finished.set_chunk_count(self->chunks_);
      finished.set_size_bytes(self->bytes_ + static_cast<int64_t>(self->context_.stream.init_segment.size()));
      *finished.mutable_stages() = ToProto(self->total_);
      *finished.mutable_wait_duration() = server::ToProto(self->waited_);
      self->sink_->Send(std::move(event));
    }
    self->encoder_.reset();
    if (!self->failed_) self->sink_->End(status);
  });
}

void Video::Fail(const absl::Status& why) {
  failed_ = true;
  sink_->End(why);
  context_.fail(id_, why);
}

void Video::Encode(const DecodedFrames& frames, Making making) {
  if (failed_ || abandoned_) return;
  const absl::Duration started = context_.clock->Now();
  if (encoder_ == nullptr) {
    auto opened = media::BlockEncoder::Open(context_.stream, frames.first_frame);
    if (!opened.ok()) return Fail(EncoderError(opened.status()));
    encoder_ = *std::move(opened);
  }
  absl::StatusOr<media::Chunk> chunk = encoder_->Encode(frames.bytes);
  if (!chunk.ok()) return Fail(EncoderError(chunk.status()));
  encoding_ += context_.clock->Now() - started;
  frames_ += chunk->frames;
  if (frames_ >= plan_.block_starts[block_ + 1]) {
    last_ = Last{*std::move(chunk), making};
  } else {
    SendChunk(*chunk, making, nullptr, {});
  }
}

void Video::FinishBlock(Stages stages, Offsets offsets) {
  if (failed_ || abandoned_) return;
  if (!last_.has_value()) return Fail(EncoderError(absl::InternalError("a block without all of its frames")));
  stages.encode = std::exchange(encoding_, {});
  offsets.finish = Elapsed(context_.clock->Now());
  v1::BlockReport report;
  *report.mutable_stages() = ToProto(stages);
  *report.mutable_start_offset() = server::ToProto(offsets.start);
  *report.mutable_denoise_offset() = server::ToProto(offsets.denoise);
  *report.mutable_commit_offset() = server::ToProto(offsets.commit);
  *report.mutable_decode_offset() = server::ToProto(offsets.decode);
  *report.mutable_finish_offset() = server::ToProto(offsets.finish);
  total_.text += stages.text;
  total_.denoise += stages.denoise;
  total_.commit += stages.commit;
  total_.decode += stages.decode;
  total_.encode += stages.encode;
  SendChunk(last_->chunk, last_->making, &report,
            {.ends_block = true,
             .device_seconds = absl::ToDoubleSeconds(stages.text + stages.denoise + stages.commit + stages.decode),
             .block_seconds = absl::ToDoubleSeconds(plan_.rate.TimeOf(plan_.block_frames[block_])),
             .decoded_seconds = absl::ToDoubleSeconds(offsets.decode)});
  last_.reset();
  encoder_.reset();
  ++block_;
  index_ = 0;
}

void Video::SendChunk(const media::Chunk& encoded, Making making, const v1::BlockReport* report,
                      DeliveredChunk delivered) {
  const auto size = static_cast<int64_t>(encoded.bytes.size());
  const auto parts_in_all = static_cast<int>((size + context_.max_part_bytes - 1) / context_.max_part_bytes);
  std::vector<v1::WatchVideoResponse> parts;
  for (int part = 0; part < parts_in_all; ++part) {
    v1::WatchVideoResponse event = NewEvent();
    v1::Chunk& chunk = *event.mutable_chunk();
    chunk.set_data(encoded.bytes.substr(part * context_.max_part_bytes, context_.max_part_bytes));
    chunk.set_block(block_);
    chunk.set_index(index_);
    chunk.set_last_in_block(report != nullptr);
    chunk.set_starts_with_key_frame(encoded.starts_with_key_frame);
    chunk.set_part(part);
    chunk.set_part_count(parts_in_all);
    chunk.set_size_bytes(size);
    chunk.set_first_frame(encoded.first_frame);
    chunk.set_frame_count(encoded.frames);
    *chunk.mutable_pts_offset() = server::ToProto(plan_.rate.TimeOf(encoded.first_frame));
    *chunk.mutable_duration() = server::ToProto(plan_.rate.TimeOf(encoded.frames));
    chunk.set_denoise_steps(making.steps);
    chunk.set_prompt(making.prompt);
    if (report != nullptr && part + 1 == parts_in_all) *chunk.mutable_report() = *report;
    parts.push_back(std::move(event));
  }
  ++chunks_;
  bytes_ += size;
  delivered.block = block_;
  delivered.index = index_++;
  delivered.reduced = making.steps < denoise_steps_;
  delivered.bytes = size;
  delivered.seconds = absl::ToDoubleSeconds(plan_.rate.TimeOf(encoded.frames));
  sink_->SendChunk(std::move(parts), [self = shared_from_this(), delivered] { self->Delivered(delivered); });
}

void Video::Delivered(DeliveredChunk chunk) {
  const absl::Duration now = context_.clock->Now();
  chunk.elapsed_seconds = absl::ToDoubleSeconds(Elapsed(now));
  chunk.live = live();
  if (chunk.live) {
    const std::lock_guard lock(playback_mutex_);
    // The picture is there with the first chunk; it begins to move when the first block is there, for that chunk may be
    // one frame.
    if (playback_.started() || chunk.ends_block) {
      const absl::Duration length =
          playback_.started() ? absl::Seconds(chunk.seconds) : plan_.rate.TimeOf(plan_.block_frames.front());
      chunk.stalled = playback_.ChunkDelivered(now, length);
      playing_ = true;
    }
    if (chunk.stalled) has_stalled_ = true;
  }
  context_.chunk_delivered(id_, chunk);
}

}  // namespace longtake::server
