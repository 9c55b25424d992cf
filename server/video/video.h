// One video from its acceptance to its end, and its log for as long as it is kept.
#ifndef LONGTAKE_SERVER_VIDEO_VIDEO_H_
#define LONGTAKE_SERVER_VIDEO_VIDEO_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/worker_pool.h"
#include "engine/engine.h"
#include "scheduler/scheduler.h"
#include "server/media/media.h"
#include "server/video/audience.h"
#include "server/video/block_records.h"
#include "server/video/chunk_log.h"
#include "server/video/event.h"
#include "server/video/maker.h"
#include "server/video/request.h"
#include "server/video/strand.h"
#include "server/video/video_host.h"
#include "server/video/watch.h"

namespace longtake::server {

// What a video is created with.
struct VideoCreation {
  uint64_t id = 0;   // of its session
  std::string name;  // "videos/..."
  VideoPlan plan;    // its disconnect policy is there
  std::string request_id, numerics_id;
  int denoise_steps = 0;
  media::Stream stream;
  ChunkLog::Serializer serializer;
  absl::Duration max_unread;  // one that nobody has ever watched is ended after so long, unless it is to continue
};

// States move under a lock by the table of state.h. The log's pieces are appended by one strand. The scheduler's
// reports and the viewers come from any thread. Thread-safe.
class Video : public std::enable_shared_from_this<Video> {
 public:
  // All pointers outlive its session; `host` and `clock` outlive its watches too.
  Video(VideoCreation creation, const scheduler::Clock* clock, WorkerPool* encoders, VideoHost* host);

  uint64_t id() const { return id_; }
  const std::string& name() const { return name_; }
  const VideoPlan& plan() const { return *plan_; }
  const std::string& request_id() const { return request_id_; }
  bool live() const { return plan_->options.delivery == scheduler::Delivery::kLive; }
  VideoInfo info() const;
  State state() const;
  ChunkLog& log() { return log_; }
  absl::Duration elapsed() const { return clock_->Now() - accepted_; }
  // The first chunk's time of its quote, from its acceptance on.
  absl::Duration promised() const;

  // Of one who waits for admission: called at once if it is decided, else by Accept (OK) or Refuse.
  void WhenDecided(std::function<void(const absl::Status&)> decided);
  // One of the two, once, before anything of the scheduler's.
  void Accept(const scheduler::Quote& quote);
  void Refuse(const absl::Status& why);

  // From the scheduler, one at a time and in its order.
  void OnWaiting(int position);
  void OnAdmitted();
  void OnPass(const scheduler::PassReport& report);
  void OnBlock(int block);
  void OnEnded(const absl::Status& status);  // once
  // From the device, before the pass's OnPass.
  void OnFrames(DecodedFrames frames);
  void OnPrompt(int prompt, PromptTokens tokens);

  // Ends it; what was encoded by then stays in the log. Nothing happens to one that has ended.
  void Cancel(const absl::Status& why);
  // Carries out what its disconnect policy has for this moment, and tells its viewers that time has passed.
  void Tick();

  // A new viewer; `more` is told when there is more to read. InvalidRequest: a block or a position that the video does
  // not have.
  absl::StatusOr<std::unique_ptr<Watch>> OpenWatch(const WatchOptions& options,
                                                   const std::weak_ptr<ChunkLog::Listener>& more);
  // A viewer's own word. VIEWER_NOT_FOUND: nobody of this id watches.
  absl::Status ReportPlayback(const std::string& viewer_id, absl::Duration position, bool paused);
  // As Audience::Count.
  void CountViewers(int& undisturbed, int& stalled) const;

 private:
  friend class Watch;
  bool Move(State to) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void End(const absl::Status& why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);  // to kFailed or kCancelled
  void Append(std::variant<Accepted, InitSegment, Waiting, Progress, PromptChanged, Chunk, Finished> body,
              std::string media = {});
  bool ended() const;

  // On the strand.
  void Encode(const DecodedFrames& frames, const BlockReport& making);
  void FinishBlock(int block, const BlockReport& report);
  void Close(const absl::Status& status);
  void AppendMade(Maker::Made made);

  // Of watches.
  void Detach(Watch& watch, bool unread);
  void OnChunkSent(const Watch& watch, const Chunk& chunk, int64_t bytes, int stalls);
  // Tells the scheduler how much has been taken, or stored where that is enough.
  void Pace();
  // Tells the scheduler where the viewers are, if they say so.
  void TellPlayback();

  const uint64_t id_;
  const std::string name_;
  const std::shared_ptr<const VideoPlan> plan_;
  const std::string request_id_, numerics_id_;
  const int denoise_steps_;
  const absl::Duration max_unread_;
  const scheduler::Clock* const clock_;
  VideoHost* const host_;
  const absl::Duration accepted_;
  BlockRecords records_;
  ChunkLog log_;
  Strand strand_;
  Maker maker_;  // on the strand only

  mutable std::mutex mutex_;
  State state_ ABSL_GUARDED_BY(mutex_) = State::kQueued;
  absl::Status error_ ABSL_GUARDED_BY(mutex_);
  absl::Time create_time_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Time> start_time_ ABSL_GUARDED_BY(mutex_), end_time_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> decision_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::function<void(const absl::Status&)>> undecided_ ABSL_GUARDED_BY(mutex_);
  absl::Duration promised_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteDuration();
  absl::Duration waited_ ABSL_GUARDED_BY(mutex_);
  Audience audience_ ABSL_GUARDED_BY(mutex_);
  bool watched_ ABSL_GUARDED_BY(mutex_) = false;  // ever
  std::optional<absl::Duration> alone_since_ ABSL_GUARDED_BY(mutex_);
  int made_blocks_ ABSL_GUARDED_BY(mutex_) = 0;  // in the log
  // Frames: in the log, and those that the scheduler knows to have gone out.
  int64_t made_ ABSL_GUARDED_BY(mutex_) = 0, delivered_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t size_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool first_sent_ ABSL_GUARDED_BY(mutex_) = false;
  std::map<int, PromptTokens> prompt_tokens_ ABSL_GUARDED_BY(mutex_);  // by prompt, until its OnPass
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_VIDEO_H_
