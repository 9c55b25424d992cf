#include "server/video/maker.h"

#include <utility>

#include "server/video/error.h"

namespace longtake::server {
namespace {

absl::Status EncoderError(const absl::Status& why) {
  return MakeError(why.code(), std::string(why.message()), {.reason = Reason::kEncoderFailed});
}

}  // namespace

absl::StatusOr<std::optional<Maker::Made>> Maker::Add(const DecodedFrames& frames, const BlockReport& making) {
  const absl::Duration started = clock_->Now();
  if (encoder_ == nullptr) {
    auto opened = media::BlockEncoder::Open(stream_, frames.first_frame);
    if (!opened.ok()) return EncoderError(opened.status());
    encoder_ = *std::move(opened);
  }
  absl::StatusOr<media::Chunk> chunk = encoder_->Encode(frames.bytes);
  if (!chunk.ok()) return EncoderError(chunk.status());
  encoding_ += clock_->Now() - started;
  frames_ += chunk->frames;
  if (frames_ < plan_->block_starts[block_ + 1]) return Cut(*std::move(chunk), making);
  last_ = *std::move(chunk);
  return std::nullopt;
}

absl::StatusOr<Maker::Made> Maker::FinishBlock(BlockReport report, absl::Duration accepted) {
  if (!last_.has_value()) return EncoderError(absl::InternalError("a block without all of its frames"));
  report.stages.encode = std::exchange(encoding_, {});
  report.seconds = absl::ToDoubleSeconds(plan_->rate.TimeOf(plan_->block_frames[block_]));
  report.finish = clock_->Now() - accepted;
  stages_ += report.stages;
  Made made = Cut(*std::move(last_), report);
  made.chunk.report = report;
  last_.reset();
  encoder_.reset();
  ++block_;
  index_ = 0;
  return made;
}

void Maker::Stop() {
  last_.reset();
  encoder_.reset();
}

void Maker::PassOver(const Chunk& chunk, int64_t bytes) {
  ++chunks_;
  bytes_ += bytes;
  frames_ = chunk.first_frame + chunk.frames;
  index_ = chunk.index + 1;
  if (!chunk.last_in_block()) return;
  stages_ += chunk.report->stages;
  block_ = chunk.block + 1;
  index_ = 0;
}

Maker::Made Maker::Cut(media::Chunk chunk, const BlockReport& making) {
  ++chunks_;
  bytes_ += static_cast<int64_t>(chunk.bytes.size());
  return {.chunk = {.block = block_,
                    .index = index_++,
                    .starts_with_key_frame = chunk.starts_with_key_frame,
                    .first_frame = chunk.first_frame,
                    .frames = chunk.frames,
                    .pts = plan_->rate.TimeOf(chunk.first_frame),
                    .duration = plan_->rate.TimeOf(chunk.frames),
                    .denoise_steps = making.steps,
                    .prompt = making.prompt,
                    .decoder = making.decoder,
                    .report = {}},
          .bytes = std::move(chunk.bytes)};
}

}  // namespace longtake::server
