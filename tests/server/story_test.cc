// What the client says about a call whose events and arrivals are known.
#include "clients/cli/story.h"

#include "clients/cli/progress_bar.h"
#include "clients/cli/proto_time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace longtake::client {
namespace {

using testing::HasSubstr;

v1::WatchVideoResponse Accepted() {
  v1::WatchVideoResponse event;
  v1::Video& video = *event.mutable_accepted()->mutable_video();
  video.set_name("videos/4");
  *video.mutable_format()->mutable_duration() = ToProto(3);
  for (int frames : {16, 16, 16}) video.mutable_format()->add_block_frame_counts(frames);
  return event;
}

v1::WatchVideoResponse Progress(v1::Progress::Stage stage, int block, int step, int steps, double share) {
  v1::WatchVideoResponse event;
  v1::Progress& progress = *event.mutable_progress();
  progress.set_stage(stage);
  progress.set_block(block);
  progress.set_step(step);
  progress.set_step_count(steps);
  progress.set_done_ratio(share);
  return event;
}

// Part `part` of `parts` of a second of video whose block took two seconds, the first one beginning at 0.5.
v1::WatchVideoResponse Chunk(int block, int part, int parts) {
  v1::WatchVideoResponse event;
  v1::Chunk& chunk = *event.mutable_chunk();
  chunk.set_block(block);
  chunk.set_last_in_block(true);
  chunk.set_part(part);
  chunk.set_part_count(parts);
  chunk.set_data("bytes");
  chunk.set_frame_count(16);
  *chunk.mutable_duration() = ToProto(1);
  if (part + 1 == parts) {
    *chunk.mutable_report()->mutable_start_offset() = ToProto(0.5 + 2 * block);
    *chunk.mutable_report()->mutable_denoise_offset() = ToProto(1.5 + 2 * block);
    *chunk.mutable_report()->mutable_finish_offset() = ToProto(2.5 + 2 * block);
    *chunk.mutable_report()->mutable_stages()->mutable_text() = ToProto(block == 0 ? 0.5 : 0);
  }
  return event;
}

TEST(Story, JudgesWhetherChunksCameInTime) {
  Story story;
  story.Hear(Accepted(), 0.01);
  story.Hear(Chunk(0, 0, 2), 2.6);
  story.Hear(Chunk(0, 1, 2), 3.4);  // before 3.5, when the next block was denoised; limit 0.5 + 1.5 x 2
  story.Hear(Chunk(1, 0, 1), 5.6);  // after 5.5
  story.Hear(Chunk(2, 0, 1), 6.6);
  const nlohmann::json summary = story.Summary(7);
  EXPECT_DOUBLE_EQ(summary["mean_block_seconds"], 2);
  EXPECT_DOUBLE_EQ(summary["first_chunk_limit_seconds"], 3.5);
  EXPECT_DOUBLE_EQ(summary["first_chunk_seconds"], 3.4);
  EXPECT_TRUE(summary["first_chunk_in_time"]);
  EXPECT_EQ(summary["chunks_before_next_denoised"], 1);
  EXPECT_EQ(summary["chunks_with_next"], 2);
  EXPECT_EQ(summary["chunks"][0]["parts"], 2);
  EXPECT_EQ(summary["chunks"][0]["bytes"], 10);
  EXPECT_EQ(summary["bytes"], 20);
  EXPECT_FALSE(summary["finished"]);
}

TEST(Story, SeesAFirstChunkThatCameTooLate) {
  Story story;
  story.Hear(Accepted(), 0.01);
  for (int i = 0; i < 3; ++i) story.Hear(Chunk(i, 0, 1), 3.6 + 2 * i);
  EXPECT_FALSE(story.Summary(8)["first_chunk_in_time"]);
}

TEST(ProgressLine, SaysBlockStepVideoSpeedAndTimeLeft) {
  Story story;
  EXPECT_EQ(ProgressLine(story, 0, 10), "starting");
  v1::WatchVideoResponse waiting;
  waiting.mutable_waiting()->set_position(2);
  story.Hear(Accepted(), 0);
  story.Hear(waiting, 0);
  EXPECT_EQ(ProgressLine(story, 0, 10), "waiting, position 2");
  story.Hear(Chunk(0, 0, 1), 2);
  story.Hear(Progress(v1::Progress::STAGE_DENOISE, 1, 3, 8, 0.4), 4);
  EXPECT_EQ(ProgressLine(story, 4, 10),
            "[####......]  40% block 2/3 step 3/8  1.0/3.0 s of video  0.25x real time  6 s left");
}

}  // namespace
}  // namespace longtake::client
