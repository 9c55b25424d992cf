// One accepted request on its way from the scheduler to its client: collects what its passes cost, encodes its frames,
// and tells its client.
#ifndef LONGTAKE_SERVER_VIDEO_H_
#define LONGTAKE_SERVER_VIDEO_H_

#include <atomic>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "longtake/v1/events.pb.h"
#include "scheduler/scheduler.h"
#include "server/media/media.h"
#include "server/playback.h"
#include "server/request.h"
#include "server/strand.h"

namespace longtake::server {

// Where a video's events go. Any thread; each call returns at once.
class EventSink {
 public:
  virtual ~EventSink() = default;
  virtual void Send(v1::WatchVideoResponse event) = 0;
  // Replaces a progress event that has not left yet.
  virtual void SendProgress(v1::WatchVideoResponse event) = 0;
  // A chunk in parts. `delivered` is called when the last one has gone out; not after a lost client.
  virtual void SendChunk(std::vector<v1::WatchVideoResponse> parts, std::function<void()> delivered) = 0;
  // After everything sent before. Nothing comes after it.
  virtual void End(const absl::Status& status) = 0;
  // After End: whatever the client has not read by now is dropped.
  virtual void GiveUp() = 0;
};

struct DeliveredChunk {
  int block = 0, index = 0;
  bool ends_block = false;
  bool live = true;
  bool reduced = false;  // fewer steps than the model's
  bool stalled = false;  // the viewer had to wait for it
  // Of its block, where it ends one: device time of the passes, and length.
  double device_seconds = 0, block_seconds = 0;
  int64_t bytes = 0;
  double seconds = 0;          // of video
  double decoded_seconds = 0;  // since the request's arrival: the block, where it ends one
  double elapsed_seconds = 0;  // the same, when it had gone out
};

class Video : public std::enable_shared_from_this<Video> {
 public:
  struct Context {
    const scheduler::Clock* clock = nullptr;
    WorkerPool* encoders = nullptr;
    int64_t max_part_bytes = 0;  // of Chunk.data
    media::Stream stream;
    // The video cannot go on; end its session with the status.
    std::function<void(uint64_t id, const absl::Status& why)> fail;
    std::function<void(uint64_t id, const DeliveredChunk& chunk)> chunk_delivered;
  };

  // `name` is "videos/...", `id` the scheduler's.
  Video(uint64_t id, std::string name, VideoPlan plan, const ModelInfo& model, Context context,
        std::shared_ptr<EventSink> sink);

  uint64_t id() const { return id_; }
  const std::string& name() const { return name_; }
  const VideoPlan& plan() const { return plan_; }
  std::weak_ptr<EventSink> sink() const { return sink_; }
  absl::Duration arrived() const { return arrived_; }

  // And the init segment. `accepted_at`: by the wall clock.
  void SendAccepted(const scheduler::Quote& quote, const std::string& request_id, absl::Time accepted_at);
  // From the scheduler's listener, in its order.
  void OnWaiting(int position);
  void OnAdmitted();
  bool waiting() const { return !admitted_; }
  bool live() const { return plan_.options.delivery == scheduler::Delivery::kLive; }
  // What its viewer has seen so far; any thread.
  bool playing() const { return playing_; }
  bool has_stalled() const { return has_stalled_; }
  void OnPass(const scheduler::PassReport& report);
  void OnBlock(int block);
  void OnEnded(const absl::Status& status);
  // From the device, before the pass's OnPass.
  void OnFrames(DecodedFrames frames);
  // The client is gone: what is still to be encoded is dropped.
  void Abandon() { abandoned_ = true; }

 private:
  // How a block is made.
  struct Making {
    int steps = 0, prompt = 0;
  };
  // How long a block's stages took, and since the video's acceptance when they ended.
  struct Stages {
    absl::Duration text, denoise, commit, decode, encode;
  };
  struct Offsets {
    absl::Duration start, denoise, commit, decode, finish;
  };
  static v1::StageDurations ToProto(const Stages& stages);
  v1::WatchVideoResponse NewEvent();
  absl::Duration Elapsed(absl::Duration at) const { return at - arrived_; }
  void Fail(const absl::Status& why);
  void Encode(const DecodedFrames& frames, Making making);
  void Delivered(DeliveredChunk chunk);
  void FinishBlock(Stages stages, Offsets offsets);
  // `report`: of a block's last chunk, else null.
  void SendChunk(const media::Chunk& chunk, Making making, const v1::BlockReport* report, DeliveredChunk delivered);

  const uint64_t id_;
  const std::string name_;
  const VideoPlan plan_;
  const std::string model_name_, numerics_id_;
  const int denoise_steps_;
  const Context context_;
  const std::shared_ptr<EventSink> sink_;
  const absl::Duration arrived_;
  std::atomic<uint64_t> events_ = 0;
  std::atomic<bool> abandoned_ = false, admitted_ = false, playing_ = false, has_stalled_ = false;
  std::mutex playback_mutex_;
  Playback playback_ ABSL_GUARDED_BY(playback_mutex_);

  // Of the block being made; the listener's calls come one at a time.
  Stages stages_;
  Offsets offsets_;
  int prompt_ = 0;             // the last one encoded
  Making making_, committed_;  // of the block being denoised, and of the one being decoded
  absl::Duration waited_;

  // On the strand only.
  Strand strand_;
  std::unique_ptr<media::BlockEncoder> encoder_;  // of the block being decoded; none between blocks
  int block_ = 0, index_ = 0;                     // of the next chunk
  int64_t frames_ = 0;                            // encoded
  // The block's last chunk, until the report of its passes is there.
  struct Last {
    media::Chunk chunk;
    Making making;
  };
  std::optional<Last> last_;
  bool failed_ = false;
  absl::Duration encoding_;  // of the block
  int64_t chunks_ = 0, bytes_ = 0;
  Stages total_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_H_
