// From decoded frames to chunks.
#ifndef LONGTAKE_SERVER_VIDEO_MAKER_H_
#define LONGTAKE_SERVER_VIDEO_MAKER_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "scheduler/scheduler.h"
#include "server/media/media.h"
#include "server/video/event.h"
#include "server/video/request.h"

namespace longtake::server {

// Encodes one video, block after block, with an encoder for each block. A chunk is cut after each latent frame; the
// last one of a block is held until the report of the block's passes is there. One thread at a time.
class Maker {
 public:
  struct Made {
    Chunk chunk;
    std::string bytes;
  };

  // `plan` and `clock` outlive it.
  Maker(const VideoPlan* plan, media::Stream stream, const scheduler::Clock* clock)
      : plan_(plan), stream_(std::move(stream)), clock_(clock) {}

  // The next frames, of a block that is made as `making` says. Returns their chunk, or nothing where it is the block's
  // last. ENCODER_FAILED: the video cannot go on.
  absl::StatusOr<std::optional<Made>> Add(const DecodedFrames& frames, const BlockReport& making);

  // The block is decoded, and this is what it took on the device. Returns its last chunk. `accepted`: the moment from
  // which reports count. ENCODER_FAILED: frames are missing.
  absl::StatusOr<Made> FinishBlock(BlockReport report, absl::Duration accepted);

  // No frames come any more. A block that has not been finished is given up, with its encoder, which takes 2.9 MiB at
  // 256x160. What has been counted stays.
  void Stop();

  // A chunk that was made before, and is passed over now: the next frames come behind it. `bytes`: its size.
  void PassOver(const Chunk& chunk, int64_t bytes);

  int block() const { return block_; }        // of the next chunk
  int64_t frames() const { return frames_; }  // that were added or passed over
  const media::Stream& stream() const { return stream_; }
  // Of all chunks that were returned.
  int64_t chunks() const { return chunks_; }
  int64_t bytes() const { return bytes_; }
  const Stages& stages() const { return stages_; }  // of all finished blocks

 private:
  Made Cut(media::Chunk chunk, const BlockReport& making);

  const VideoPlan* const plan_;
  const media::Stream stream_;
  const scheduler::Clock* const clock_;
  std::unique_ptr<media::BlockEncoder> encoder_;  // of the block being decoded; none between blocks
  int block_ = 0, index_ = 0;                     // of the next chunk
  int64_t frames_ = 0;                            // encoded
  std::optional<media::Chunk> last_;              // of the block, until its report is there
  absl::Duration encoding_;                       // time that the block has taken
  int64_t chunks_ = 0, bytes_ = 0;
  Stages stages_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_MAKER_H_
