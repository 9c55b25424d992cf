#include "server/client/story.h"

#include <utility>

namespace longtake::client {
namespace {

nlohmann::json ToJson(const v1::StageTimes& stages) {
  return {{"text", stages.text()},
          {"denoise", stages.denoise()},
          {"commit", stages.commit()},
          {"decode", stages.decode()},
          {"video", stages.video()}};
}

nlohmann::json ToJson(const v1::ChunkTimes& times) {
  return {{"started", times.started()},
          {"denoised", times.denoised()},
          {"committed", times.committed()},
          {"decoded", times.decoded()},
          {"finished", times.finished()}};
}

}  // namespace

void Story::Hear(const v1::GenerateEvent& event, double now) {
  switch (event.event_case()) {
    case v1::GenerateEvent::kAccepted:
      accepted_ = event.accepted();
      break;
    case v1::GenerateEvent::kWaiting:
      waiting_position_ = event.waiting().position();
      break;
    case v1::GenerateEvent::kProgress:
      began_ = true;
      waiting_position_ = 0;
      progress_ = event.progress();
      break;
    case v1::GenerateEvent::kChunk: {
      const v1::Chunk& chunk = event.chunk();
      ++parts_;
      part_bytes_ += static_cast<int64_t>(chunk.data().size());
      bytes_ += static_cast<int64_t>(chunk.data().size());
      if (!chunk.last_part()) break;
      ArrivedChunk arrived;
      arrived.last_part = chunk;
      arrived.last_part.clear_data();
      arrived.parts = std::exchange(parts_, 0);
      arrived.bytes = std::exchange(part_bytes_, 0);
      arrived.arrived = now;
      seconds_of_video_ += chunk.duration_seconds();
      chunks_.push_back(std::move(arrived));
      break;
    }
    case v1::GenerateEvent::kPromptChanged:
      changes_.push_back(event.prompt_changed());
      break;
    case v1::GenerateEvent::kFinished:
      finished_ = event.finished();
      break;
    case v1::GenerateEvent::EVENT_NOT_SET:
      break;  // an event of a newer server
  }
}

nlohmann::json Story::Summary(double now) const {
  nlohmann::json out = {{"finished", finished()},
                        {"total_seconds", now},
                        {"seconds_of_video", seconds_of_video_},
                        {"speed", now > 0 ? seconds_of_video_ / now : 0},
                        {"bytes", bytes_}};
  if (accepted_.id() != 0) {
    out["id"] = accepted_.id();
    out["model"] = accepted_.model();
    out["numerics_id"] = accepted_.numerics_id();
    out["seed"] = accepted_.seed();
    out["width"] = accepted_.size().width();
    out["height"] = accepted_.size().height();
    out["frames"] = accepted_.frames();
    out["fps"] = accepted_.frames_per_second();
    out["blocks"] = accepted_.block_frames_size();
    out["denoise_steps"] = accepted_.denoise_steps();
  }
  if (accepted_.quote().has_first_chunk_seconds()) {
    out["quoted_first_chunk_seconds"] = accepted_.quote().first_chunk_seconds();
    out["quoted_last_chunk_seconds"] = accepted_.quote().last_chunk_seconds();
  }
  nlohmann::json changes = nlohmann::json::array();
  for (const v1::PromptChanged& change : changes_) {
    changes.push_back(
        {{"prompt", change.prompt()}, {"block", change.block()}, {"first_pts", change.first_pts_seconds()}});
  }
  out["prompt_changes"] = std::move(changes);
  nlohmann::json chunks = nlohmann::json::array();
  int in_time = 0;
  for (size_t i = 0; i < chunks_.size(); ++i) {
    const v1::Chunk& chunk = chunks_[i].last_part;
    nlohmann::json each = {{"index", chunk.index()},
                           {"arrived", chunks_[i].arrived},
                           {"bytes", chunks_[i].bytes},
                           {"parts", chunks_[i].parts},
                           {"denoise_steps", chunk.denoise_steps()},
                           {"prompt", chunk.prompt()},
                           {"first_frame", chunk.first_frame()},
                           {"frames", chunk.frames()},
                           {"first_pts", chunk.first_pts_seconds()},
                           {"duration", chunk.duration_seconds()},
                           {"stages", ToJson(chunk.stages())},
                           {"times", ToJson(chunk.times())}};
    if (i + 1 < chunks_.size()) {
      const bool before = chunks_[i].arrived <= chunks_[i + 1].last_part.times().denoised();
      each["before_next_denoised"] = before;
      in_time += before ? 1 : 0;
    }
    chunks.push_back(std::move(each));
  }
  if (!chunks_.empty()) {
    const v1::ChunkTimes& first = chunks_.front().last_part.times();
    const double mean =
        (chunks_.back().last_part.times().finished() - first.started()) / static_cast<double>(chunks_.size());
    // Before the first block began, the request waited and its text was encoded.
    const double limit = first.started() + 1.5 * mean;
    out["first_chunk_seconds"] = first_chunk_seconds();
    out["text_seconds"] = chunks_.front().last_part.stages().text();
    out["before_first_block_seconds"] = first.started();
    out["mean_block_seconds"] = mean;
    out["first_chunk_limit_seconds"] = limit;
    out["first_chunk_in_time"] = first_chunk_seconds() <= limit;
    out["chunks_before_next_denoised"] = in_time;
    out["chunks_with_next"] = chunks_.size() - 1;
  }
  out["chunks"] = std::move(chunks);
  if (finished_.has_value()) {
    out["stages"] = ToJson(finished_->stages());
    out["waited_seconds"] = finished_->waited_seconds();
  }
  return out;
}

}  // namespace longtake::client
