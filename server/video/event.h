// What happens to a video, as its viewers are told. No wire format: server/grpc/wire.h has one.
#ifndef LONGTAKE_SERVER_VIDEO_EVENT_H_
#define LONGTAKE_SERVER_VIDEO_EVENT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "scheduler/scheduler.h"
#include "server/video/request.h"
#include "server/video/state.h"

namespace longtake::server {

// A video as it stands at one moment; fields as in longtake.v1.Video.
struct VideoInfo {
  std::string name;
  State state = State::kQueued;
  std::shared_ptr<const VideoPlan> plan;
  std::string request_id, numerics_id;
  int denoise_steps = 0;
  absl::Time create_time;
  std::optional<absl::Time> start_time, end_time;
  std::vector<std::pair<std::string, int>> changes = {};  // prompts behind the plan's, and their blocks
  int blocks = 0;                                         // whose chunks are all there
  int64_t size_bytes = 0;                                 // of the chunks so far
  int viewers = 0;
  absl::Status error;  // of kFailed and kCancelled
};

// Device time of a block's passes by kind, and the time that encoding took.
struct Stages {
  absl::Duration text, denoise, commit, decode, encode;

  absl::Duration device() const { return text + denoise + commit + decode; }
  Stages& operator+=(const Stages& other);
};

// How a block was made. Moments are counted from the video's acceptance.
struct BlockReport {
  int steps = 0, prompt = 0;
  DecoderKind decoder = DecoderKind::kFull;
  double seconds = 0;  // of video
  Stages stages;
  absl::Duration start, denoise, commit, decode, finish;
};

struct Accepted {
  VideoInfo video;
  scheduler::Quote quote;
  std::string media_type;
};
struct InitSegment {};  // its bytes are the piece's media
struct Waiting {
  int position = 0;
};
struct Progress {
  scheduler::PassKind kind = scheduler::PassKind::kEncodePrompt;
  int block = 0, step = 0, steps = 0;
  double done = 0;  // of the video, 0 to 1
};
// Of an encoded prompt; those beyond `used` have no effect. 0: the model does not count them.
struct PromptTokens {
  int64_t given = 0, used = 0;
};
struct PromptChanged {
  int prompt = 0, block = 0;
  absl::Duration pts;
  PromptTokens tokens;
};
struct Chunk {  // its bytes are the piece's media
  int block = 0, index = 0;
  bool starts_with_key_frame = false;
  int64_t first_frame = 0;
  int frames = 0;
  absl::Duration pts, duration;
  int denoise_steps = 0, prompt = 0;
  DecoderKind decoder = DecoderKind::kFull;
  std::optional<BlockReport> report;  // of a block's last chunk, and only there

  bool last_in_block() const { return report.has_value(); }
};
struct Finished {
  int64_t frames = 0, chunks = 0, size_bytes = 0;
  absl::Duration duration, waited;
  Stages stages;
};

struct Event {
  absl::Duration elapsed;  // since the video's acceptance
  std::variant<Accepted, InitSegment, Waiting, Progress, PromptChanged, Chunk, Finished> body;
};

// An event with its media, or with that one's size alone.
struct Recorded {
  Event event;
  std::string media;
  int64_t media_bytes = 0;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_EVENT_H_
