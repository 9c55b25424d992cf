#include "server/video.h"

#include <algorithm>
#include <utility>

#include "common/status_macros.h"

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

void AddTo(v1::StageTimes& sum, const v1::StageTimes& more) {
  sum.set_text(sum.text() + more.text());
  sum.set_denoise(sum.denoise() + more.denoise());
  sum.set_commit(sum.commit() + more.commit());
  sum.set_decode(sum.decode() + more.decode());
  sum.set_video(sum.video() + more.video());
}

}  // namespace

Video::Video(uint64_t id, VideoPlan plan, const ModelInfo& model, Context context, std::shared_ptr<EventSink> sink)
    : id_(id),
      plan_(std::move(plan)),
      model_name_(model.name),
      numerics_id_(model.numerics_id),
      fps_(model.fps),
      denoise_steps_(model.denoise_steps),
      context_(std::move(context)),
      sink_(std::move(sink)),
      arrived_(context_.clock->Now()),
      strand_(context_.encoders) {}

v1::GenerateEvent Video::NewEvent() const {
  v1::GenerateEvent event;
  event.set_elapsed_seconds(Elapsed(context_.clock->Now()));
  return event;
}

void Video::SendAccepted(const v1::Quote& quote) {
  v1::GenerateEvent event = NewEvent();
  v1::Accepted& accepted = *event.mutable_accepted();
  accepted.set_id(id_);
  accepted.set_model(model_name_);
  accepted.set_seed(plan_.spec.seed);
  accepted.mutable_size()->set_width(plan_.spec.size.width);
  accepted.mutable_size()->set_height(plan_.spec.size.height);
  accepted.set_frames_per_second(fps_);
  accepted.set_frames(plan_.frames);
  accepted.set_seconds(plan_.seconds);
  for (int frames : plan_.block_frames) accepted.add_block_frames(frames);
  accepted.set_denoise_steps(denoise_steps_);
  accepted.set_numerics_id(numerics_id_);
  *accepted.mutable_quote() = quote;
  sink_->Send(std::move(event));
}

void Video::OnWaiting(int position) {
  v1::GenerateEvent event = NewEvent();
  event.mutable_waiting()->set_position(position);
  sink_->Send(std::move(event));
}

void Video::OnAdmitted() {
  admitted_ = true;
  waited_seconds_ = Elapsed(context_.clock->Now());
}

void Video::OnPass(const scheduler::PassReport& report) {
  switch (report.kind) {
    case scheduler::PassKind::kEncodePrompt:
      stages_.set_text(stages_.text() + report.device_seconds);
      prompt_ = report.prompt;
      if (report.prompt > 0) {
        v1::GenerateEvent event = NewEvent();
        event.mutable_prompt_changed()->set_prompt(report.prompt);
        event.mutable_prompt_changed()->set_block(report.block);
        event.mutable_prompt_changed()->set_first_pts_seconds(BlockSeconds(plan_, fps_, report.block));
        sink_->Send(std::move(event));
      }
      break;
    case scheduler::PassKind::kDenoise:
      if (report.step == 1) {
        times_.set_started(Elapsed(report.started));
        making_ = {.steps = report.steps, .prompt = prompt_};
      }
      times_.set_denoised(Elapsed(report.ended));
      stages_.set_denoise(stages_.denoise() + report.device_seconds);
      break;
    case scheduler::PassKind::kCommit:
      times_.set_committed(Elapsed(report.ended));
      stages_.set_commit(stages_.commit() + report.device_seconds);
      committed_ = making_;
      break;
    case scheduler::PassKind::kDecode:
      times_.set_decoded(Elapsed(report.ended));
      stages_.set_decode(stages_.decode() + report.device_seconds);
      break;
  }
  v1::GenerateEvent event = NewEvent();
  v1::Progress& progress = *event.mutable_progress();
  progress.set_stage(StageOf(report.kind));
  progress.set_block(report.block);
  progress.set_step(report.step);
  progress.set_steps(report.steps);
  progress.set_done_share(static_cast<double>(report.passes_done) / report.passes);
  sink_->SendProgress(std::move(event));
}

void Video::OnFrames(DecodedFrames frames) {
  // shared_ptr: std::function copies what it holds.
  auto shared = std::make_shared<DecodedFrames>(std::move(frames));
  strand_.Post([self = shared_from_this(), shared] { self->Encode(*shared); });
}

void Video::OnBlock(int block) {
  strand_.Post([self = shared_from_this(), block, stages = std::exchange(stages_, {}),
                times = std::exchange(times_, {}),
                making = committed_] { self->FinishChunk(block, stages, times, making); });
}

void Video::OnEnded(const absl::Status& status) {
  // Behind the frames on the strand: no finished chunk is lost.
  strand_.Post([self = shared_from_this(), status] {
    if (status.ok() && !self->failed_) {
      v1::GenerateEvent event = self->NewEvent();
      *event.mutable_finished() = self->totals_;
      event.mutable_finished()->set_waited_seconds(self->waited_seconds_);
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

void Video::Encode(const DecodedFrames& frames) {
  if (failed_ || abandoned_) return;
  const absl::Duration started = context_.clock->Now();
  if (absl::Status status = EncodeChunk(frames); !status.ok()) return Fail(status);
  video_seconds_ += absl::ToDoubleSeconds(context_.clock->Now() - started);
}

absl::Status Video::EncodeChunk(const DecodedFrames& frames) {
  if (!stream_) {
    ASSIGN_OR_RETURN(const media::FrameRate rate, media::FrameRateFrom(fps_));
    ASSIGN_OR_RETURN(
        stream_, media::DescribeStream(
                     {.width = frames.size.width, .height = frames.size.height, .rate = rate, .frames = plan_.frames}));
  }
  if (encoder_ == nullptr) {
    ASSIGN_OR_RETURN(encoder_, media::BlockEncoder::Open(*stream_, frames.first_frame));
    block_ = {.bytes = frames.first_frame == 0 ? stream_->init_segment : "", .first_frame = frames.first_frame};
  }
  ASSIGN_OR_RETURN(const media::Chunk chunk, encoder_->Encode(frames.bytes));
  block_.bytes += chunk.bytes;
  block_.frames += chunk.frames;
  return absl::OkStatus();
}

void Video::FinishChunk(int block, const v1::StageTimes& stages, v1::ChunkTimes times, Making making) {
  if (failed_ || abandoned_) return;
  if (encoder_ == nullptr) return Fail(absl::InternalError("a block without frames"));
  encoder_.reset();
  const media::Chunk encoded = std::exchange(block_, {});
  const double duration_seconds = absl::ToDoubleSeconds(stream_->format.rate.TimeOf(encoded.frames));
  times.set_finished(Elapsed(context_.clock->Now()));
  v1::StageTimes all = stages;
  all.set_video(std::exchange(video_seconds_, 0));

  std::vector<v1::GenerateEvent> parts;
  const int64_t size = static_cast<int64_t>(encoded.bytes.size());
  for (int64_t offset = 0; offset < size; offset += context_.max_part_bytes) {
    v1::GenerateEvent event = NewEvent();
    v1::Chunk& chunk = *event.mutable_chunk();
    chunk.set_index(block);
    chunk.set_part(static_cast<int>(parts.size()));
    chunk.set_last_part(offset + context_.max_part_bytes >= size);
    chunk.set_data(encoded.bytes.substr(offset, context_.max_part_bytes));
    if (offset == 0 && block == 0) {
      chunk.set_init_segment_bytes(static_cast<int64_t>(stream_->init_segment.size()));
    }
    chunk.set_first_frame(encoded.first_frame);
    chunk.set_frames(encoded.frames);
    chunk.set_first_pts_seconds(absl::ToDoubleSeconds(stream_->format.rate.TimeOf(encoded.first_frame)));
    chunk.set_duration_seconds(duration_seconds);
    chunk.set_denoise_steps(making.steps);
    chunk.set_prompt(making.prompt);
    if (chunk.last_part()) {
      *chunk.mutable_stages() = all;
      *chunk.mutable_times() = times;
    }
    parts.push_back(std::move(event));
  }
  totals_.set_frames(totals_.frames() + encoded.frames);
  totals_.set_seconds(totals_.seconds() + duration_seconds);
  totals_.set_chunks(totals_.chunks() + 1);
  totals_.set_bytes(totals_.bytes() + size);
  AddTo(*totals_.mutable_stages(), all);
  const DeliveredChunk chunk = {.block = block,
                                .reduced = making.steps < denoise_steps_,
                                .device_seconds = all.text() + all.denoise() + all.commit() + all.decode(),
                                .bytes = size,
                                .seconds = duration_seconds,
                                .decoded_seconds = times.decoded()};
  sink_->SendChunk(std::move(parts), [self = shared_from_this(), chunk] { self->Delivered(chunk); });
}

void Video::Delivered(DeliveredChunk chunk) {
  const absl::Duration now = context_.clock->Now();
  chunk.elapsed_seconds = Elapsed(now);
  chunk.live = live();
  if (chunk.live) {
    const std::lock_guard lock(playback_mutex_);
    chunk.stalled = playback_.ChunkDelivered(now, absl::Seconds(chunk.seconds));
    playing_ = true;
    if (chunk.stalled) has_stalled_ = true;
  }
  context_.chunk_delivered(id_, chunk);
}

}  // namespace longtake::server
