// The form in which a video lies in the store. Its folder, "videos/{video}", is also an HLS presentation that any file
// server can serve:
//
//   video.json        what was asked for and what was planned, written before anybody is told that it was accepted
//   init.mp4          the stream's init segment
//   prompts.json      all prompts, once one was changed
//   block-00007.m4s   a block's chunks, one after the other
//   block-00007.json  the events since the block before, without the chunks' bytes
//   index.m3u8        the blocks so far
//   checkpoint        what the engine needs to go on behind a block: a line of JSON, then its bytes
//   end.json          how it ended; then there is no checkpoint
//
// Every .json file is {"crc32c": of the body's text, "version": 1, "body": ...}.
#ifndef LONGTAKE_SERVER_VIDEO_STORED_VIDEO_H_
#define LONGTAKE_SERVER_VIDEO_STORED_VIDEO_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/media/media.h"
#include "server/store/store.h"
#include "server/video/event.h"
#include "server/video/request.h"
#include "server/video/tenant.h"

namespace longtake::server {

// The folder of all videos.
inline constexpr char kVideosFolder[] = "videos";

// Of one that was accepted.
struct StoredVideo {
  VideoInfo info;  // as it was accepted
  Tenant tenant;   // empty in a store of a server that did not ask callers who they are
  // As they were asked for, by which a request id is known again.
  VideoSpec spec;
  DeliveryOptions options;
  std::optional<ForkSpec> fork;
  scheduler::Quote quote;
  absl::Duration elapsed;  // of its Accepted
  std::string model_digest;
  media::Stream stream;
};

// Of one that has ended.
struct StoredEnd {
  State state = State::kMade;
  absl::Status error;
  std::optional<absl::Time> start_time, end_time;
  int blocks = 0;          // whose chunks are all there
  int64_t size_bytes = 0;  // of the chunks
  std::optional<Event> finished;
};

// `blocks`: those that are stored already.
std::vector<StoredFile> FilesOf(const StoredVideo& video, int blocks);
// All of the plan's, by number.
StoredFile PromptsFile(const std::string& name, const VideoPlan& plan);
// `events`: since the block before; its chunks' media is the segment. The index comes last.
std::vector<StoredFile> BlockFiles(const std::string& name, const VideoPlan& plan, int block,
                                   const std::vector<Recorded>& events);
// Behind `blocks` blocks.
StoredFile CheckpointFile(const std::string& name, int blocks, const std::vector<std::byte>& checkpoint);
std::string CheckpointPath(const std::string& name);
std::vector<StoredFile> EndFiles(const std::string& name, const VideoPlan& plan, const StoredEnd& end);

// False: the server ended before it had told anybody of the video. True where that cannot be found out.
bool WasAccepted(const Store& store, const std::string& name);
// Whether it has ended, as ReadStoredEnd would find.
bool HasEnded(const Store& store, const std::string& name);
// DataLoss names the file and what is wrong with it. With the prompts of prompts.json, where there is one.
absl::StatusOr<StoredVideo> ReadStoredVideo(const Store& store, const std::string& name);
struct StoredCheckpoint {
  int blocks = 0;
  std::vector<std::byte> bytes;
};
// How many of its blocks are there, one that was cut off among them.
int StoredBlocks(const Store& store, const std::string& name);
// NotFound: there is none.
absl::StatusOr<StoredCheckpoint> ReadStoredCheckpoint(const Store& store, const std::string& name);
// NotFound: it has not ended. `plan`: the video's.
absl::StatusOr<StoredEnd> ReadStoredEnd(const Store& store, const std::string& name, const VideoPlan& plan);
// NotFound: that block was not finished. Without media where `with_media` is false.
absl::StatusOr<std::vector<Recorded>> ReadStoredBlock(const Store& store, const std::string& name, int block,
                                                      bool with_media);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_STORED_VIDEO_H_
