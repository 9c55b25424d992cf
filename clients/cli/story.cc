#include "clients/cli/story.h"

#include <utility>

#include "clients/cli/proto_time.h"

namespace longtake::client {
namespace {

nlohmann::json ToJson(const v1::StageDurations& stages) {
  return {{"text", Seconds(stages.text())},
          {"denoise", Seconds(stages.denoise())},
          {"commit", Seconds(stages.commit())},
          {"decode", Seconds(stages.decode())},
          {"encode", Seconds(stages.encode())}};
}

nlohmann::json OffsetsOf(const v1::BlockReport& report) {
  return {{"started", Seconds(report.start_offset())},
          {"denoised", Seconds(report.denoise_offset())},
          {"committed", Seconds(report.commit_offset())},
          {"decoded", Seconds(report.decode_offset())},
          {"finished", Seconds(report.finish_offset())}};
}

}  // namespace

void Story::Hear(const v1::WatchVideoResponse& event, double now) {
  switch (event.event_case()) {
    case v1::WatchVideoResponse::kAccepted:
      accepted_ = event.accepted();
      break;
    case v1::WatchVideoResponse::kWaiting:
      waiting_position_ = event.waiting().position();
      break;
    case v1::WatchVideoResponse::kProgress:
      began_ = true;
      waiting_position_ = 0;
      progress_ = event.progress();
      break;
    case v1::WatchVideoResponse::kInitSegment:
      bytes_ += static_cast<int64_t>(event.init_segment().data().size());
      break;
    case v1::WatchVideoResponse::kChunk: {
      const v1::Chunk& chunk = event.chunk();
      ++parts_;
      part_bytes_ += static_cast<int64_t>(chunk.data().size());
      bytes_ += static_cast<int64_t>(chunk.data().size());
      if (chunk.part() + 1 < chunk.part_count()) break;
      ArrivedChunk arrived;
      arrived.last_part = chunk;
      arrived.last_part.clear_data();
      arrived.parts = std::exchange(parts_, 0);
      arrived.bytes = std::exchange(part_bytes_, 0);
      arrived.arrived = now;
      seconds_of_video_ += Seconds(chunk.duration());
      chunks_.push_back(std::move(arrived));
      break;
    }
    case v1::WatchVideoResponse::kPromptChanged:
      if (event.prompt_changed().prompt() > 0) changes_.push_back(event.prompt_changed());
      break;
    case v1::WatchVideoResponse::kFinished:
      finished_ = event.finished();
      break;
    case v1::WatchVideoResponse::EVENT_NOT_SET:
      break;  // an event of a newer server
  }
}

nlohmann::json Story::Summary(double now) const {
  nlohmann::json out = {{"finished", finished()},
                        {"total_seconds", now},
                        {"seconds_of_video", seconds_of_video_},
                        {"speed", now > 0 ? seconds_of_video_ / now : 0},
                        {"bytes", bytes_}};
  if (!video().name().empty()) {
    out["name"] = video().name();
    out["model"] = video().spec().model();
    out["numerics_id"] = video().numerics_id();
    out["seed"] = video().spec().seed();
    out["width"] = video().format().size().width();
    out["height"] = video().format().size().height();
    out["frames"] = video().format().frame_count();
    out["fps"] = FramesPerSecond(video().format().frame_rate());
    out["blocks"] = video().format().block_frame_counts_size();
    out["denoise_steps"] = video().denoise_steps();
    out["media_type"] = accepted_.media_type();
  }
  if (quote().has_first_chunk_delay()) {
    out["quoted_first_chunk_seconds"] = Seconds(quote().first_chunk_delay());
    out["quoted_last_chunk_seconds"] = Seconds(quote().last_chunk_delay());
  }
  nlohmann::json changes = nlohmann::json::array();
  for (const v1::PromptChanged& change : changes_) {
    changes.push_back(
        {{"prompt", change.prompt()}, {"block", change.block()}, {"first_pts", Seconds(change.pts_offset())}});
  }
  out["prompt_changes"] = std::move(changes);
  nlohmann::json chunks = nlohmann::json::array();
  std::vector<const ArrivedChunk*> blocks;  // their last chunks
  for (const ArrivedChunk& arrived : chunks_) {
    const v1::Chunk& chunk = arrived.last_part;
    nlohmann::json each = {{"block", chunk.block()},
                           {"index", chunk.index()},
                           {"arrived", arrived.arrived},
                           {"bytes", arrived.bytes},
                           {"parts", arrived.parts},
                           {"denoise_steps", chunk.denoise_steps()},
                           {"decoder", chunk.decoder() == v1::DECODER_TINY ? "tiny" : "full"},
                           {"prompt", chunk.prompt()},
                           {"first_frame", chunk.first_frame()},
                           {"frames", chunk.frame_count()},
                           {"first_pts", Seconds(chunk.pts_offset())},
                           {"duration", Seconds(chunk.duration())}};
    if (chunk.last_in_block()) {
      blocks.push_back(&arrived);
      each["stages"] = ToJson(chunk.report().stages());
      each["times"] = OffsetsOf(chunk.report());
    }
    chunks.push_back(std::move(each));
  }
  if (!blocks.empty()) {
    int in_time = 0;
    for (size_t i = 0; i + 1 < blocks.size(); ++i) {
      in_time += blocks[i]->arrived <= Seconds(blocks[i + 1]->last_part.report().denoise_offset()) ? 1 : 0;
    }
    const v1::BlockReport& first = blocks.front()->last_part.report();
    // Before the first block began, the request waited and its text was encoded.
    const double began = Seconds(first.start_offset());
    const double made = Seconds(blocks.back()->last_part.report().finish_offset());
    const double mean = (made - began) / static_cast<double>(blocks.size());
    const double limit = began + 1.5 * mean;
    out["first_chunk_seconds"] = first_chunk_seconds();
    out["text_seconds"] = Seconds(first.stages().text());
    out["before_first_block_seconds"] = began;
    out["mean_block_seconds"] = mean;
    out["first_chunk_limit_seconds"] = limit;
    out["first_chunk_in_time"] = first_chunk_seconds() <= limit;
    out["chunks_before_next_denoised"] = in_time;
    out["chunks_with_next"] = blocks.size() - 1;
  }
  out["chunks"] = std::move(chunks);
  if (finished_.has_value()) {
    out["stages"] = ToJson(finished_->stages());
    out["waited_seconds"] = Seconds(finished_->wait_duration());
  }
  return out;
}

}  // namespace longtake::client
