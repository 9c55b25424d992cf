// One video from its acceptance to its end, and its log for as long as it is kept.
#ifndef LONGTAKE_SERVER_VIDEO_VIDEO_H_
#define LONGTAKE_SERVER_VIDEO_VIDEO_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/mutex.h"
#include "common/worker_pool.h"
#include "engine/engine.h"
#include "scheduler/scheduler.h"
#include "server/media/media.h"
#include "server/store/store.h"
#include "server/telemetry/origin.h"
#include "server/video/audience.h"
#include "server/video/block_form.h"
#include "server/video/block_records.h"
#include "server/video/chunk_log.h"
#include "server/video/event.h"
#include "server/video/maker.h"
#include "server/video/request.h"
#include "server/video/stored_video.h"
#include "server/video/strand.h"
#include "server/video/video_host.h"
#include "server/video/watch.h"

namespace longtake::server {

// What a video is created with.
struct VideoCreation {
  uint64_t id = 0;          // of its session
  CallOrigin origin = {};   // of the call that asked for it; of one from the store, of its restoration
  StoredVideo description;  // its plan's disconnect policy is there; acceptance adds the rest
  ChunkLog::Serializer serializer;
  absl::Duration max_unread;  // one that nobody has ever watched is ended after so long, unless it is to continue
  Store* store = nullptr;     // outlives it; null: nothing of it outlives the process
  uint64_t token = 0;         // of its writes, where servers share the store (Registry)
  // Of a fork: the events of its first blocks with their media, which it begins with.
  std::vector<std::vector<Recorded>> shared_blocks = {};
};

// States move under a lock by the table of state.h. The log's pieces are appended by one strand. The scheduler's
// reports and the viewers come from any thread. Thread-safe.
class Video : public std::enable_shared_from_this<Video> {
 public:
  // All pointers outlive its session; `host` and `clock` outlive its watches too.
  Video(VideoCreation creation, const scheduler::Clock* clock, WorkerPool* encoders, VideoHost* host);
  // One that lies in the store: it has ended as `end` says, or is to be made again from its first block on and goes on
  // behind the blocks that are stored and whole. The errors of the store, of its blocks.
  static absl::StatusOr<std::shared_ptr<Video>> Restore(VideoCreation creation, const std::optional<StoredEnd>& end,
                                                        const scheduler::Clock* clock, WorkerPool* encoders,
                                                        VideoHost* host);

  uint64_t id() const { return id_; }
  const std::string& name() const { return name_; }
  uint64_t token() const { return token_; }
  const CallOrigin& origin() const { return origin_; }
  const Tenant& tenant() const { return description_.tenant; }
  const VideoPlan& plan() const { return *plan_; }
  // As it was asked for.
  const StoredVideo& description() const { return description_; }
  // Its prompts, by number.
  std::vector<std::string> prompts() const;
  // Of one that goes on, and of a fork: how the blocks were made that it began with.
  const std::vector<BlockForm>& made_forms() const { return made_forms_; }
  // And how many of them need not be made again, with what the engine needs to go on behind them. Once.
  StoredCheckpoint TakeCheckpoint() { return std::exchange(checkpoint_, {}); }
  bool goes_on() const { return goes_on_; }
  // Of one that goes on: what is wrong with the first stored block that is made again; OK: none is.
  const absl::Status& damage() const { return damage_; }
  bool live() const { return plan_->options.delivery == scheduler::Delivery::kLive; }
  VideoInfo info() const;
  State state() const;
  ChunkLog& log() { return log_; }
  absl::Duration elapsed() const { return clock_->Now() - accepted_; }
  // How far what is made is ahead of the foremost viewer that plays; nothing where nobody watches.
  std::optional<absl::Duration> lead() const;
  // How much of it there is to be read, and whether that is all there will ever be.
  LogReach reach() const { return stored_end_.has_value() ? LogReach{.blocks = stored_end_->blocks} : log_.reach(); }
  bool closed() const { return stored_end_.has_value() || log_.closed(); }
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
  void OnPass(const scheduler::PassReport& report, const BlockForm& form);
  void OnBlock(int block);
  void OnEnded(const absl::Status& status);  // once
  // From the device, before the pass's OnPass.
  void OnFrames(DecodedFrames frames);
  void OnPrompt(int prompt, PromptTokens tokens);
  // `held` is let go when the checkpoint is stored, or is not needed.
  void OnCheckpoint(int blocks, std::vector<std::byte> checkpoint, std::shared_ptr<void> held);
  // A prompt that was changed. Calls `done` once it would survive the process; OTHER_SERVER: it does not.
  void KeepPrompt(int block, const std::string& text, std::function<void(const absl::Status&)> done);

  // Ends it; what was encoded by then stays in the log. Nothing happens to one that has ended.
  void Cancel(const absl::Status& why);
  // Another server makes it now: here it ends as OTHER_SERVER, nothing more of it is told, and what is stored stays.
  void Lose();
  // Whether something of it could not be stored, so that this server alone has all of it.
  bool lacks_in_store() const;
  // Removes it from the store, and stores nothing of it any more. `done`: it would not be there after a restart.
  void Forget(std::function<void()> done = [] {});
  // Carries out what its disconnect policy has for this moment, and tells its viewers that time has passed.
  void Tick();

  // A new viewer; `more` is told when there is more to read. InvalidRequest: a block or a position that the video does
  // not have.
  absl::StatusOr<std::unique_ptr<Watch>> OpenWatch(const WatchOptions& options,
                                                   const std::weak_ptr<ChunkLog::Listener>& more);
  // A viewer's own word. VIEWER_NOT_FOUND: nobody of this id watches.
  absl::Status ReportPlayback(const std::string& viewer_id, absl::Duration position, bool paused);
  // The events of so many blocks, from the first on, with their media. BLOCK_NOT_MADE: there are not so many yet;
  // BLOCK_NOT_KEPT; the store's errors.
  absl::StatusOr<std::vector<std::vector<Recorded>>> Blocks(int first, int count);
  // BLOCK_NOT_KEPT: who begins at this block would not get it.
  absl::Status CheckKept(int block) const { return log_.CheckKept(block); }
  // The bytes of one block's chunks. The same errors.
  absl::StatusOr<std::string> Segment(int block);
  // The bytes of one chunk. The same errors; BLOCK_NOT_MADE: it is not there, or its block has no such chunk.
  absl::StatusOr<std::string> ChunkBytes(const ChunkNumber& chunk);
  // As Audience::Count.
  void CountViewers(int& undisturbed, int& stalled) const;

 private:
  friend class Watch;
  bool Move(State to) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void End(const absl::Status& why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);  // to kFailed or kCancelled
  void Log(Event event, std::string media = {});
  bool ended() const;
  // Its acceptance is in the log, and the blocks that it begins with; who waited for it is told.
  void Announce(const Event& accepted, bool stored);

  // On the strand (video_making.cc).
  void Encode(const DecodedFrames& frames, const BlockReport& making);
  void FinishBlock(int block, const BlockReport& report);
  void PassOver(int block);
  void ChangedPrompt(const Event& changed);
  void AppendMade(Maker::Made made);
  void Close(const absl::Status& status);
  // Runs `then` behind what waits already; if there are files, once they are stored. `stored`: they are, and so is all
  // before them.
  void Tell(std::vector<StoredFile> files, std::function<void(bool stored)> then);
  void OnStored(const absl::Status& status);
  // Of Tell: OnStored follows.
  bool PutTold(std::vector<StoredFile> files);
  bool lost() const;
  // Calls `done` on the strand. False: nothing is stored any more, and it is not called.
  bool Put(std::vector<StoredFile> files, std::function<void(const absl::Status&)> done);
  // After an error nothing more is stored: blocks behind a hole would help nobody.
  void StopStoring(const absl::Status& why);
  void StoreFailedEnd(StoredEnd end);
  // Stores the blocks that it begins with, from this one on and one after the other, for all at once would hold
  // hundreds of descriptors; then what says that there is such a video. Ends as the store's part of a Tell.
  void StoreShared(size_t block, const std::shared_ptr<const StoredVideo>& stored);
  // What was made before: its steps, and what is not told again.
  void AddMade(const Event& event, int64_t media_bytes);
  // The files of the block that ends with the last event.
  std::vector<StoredFile> TakeUnstored(int block);
  static absl::Status MadeElsewhere(const std::string& name);
  // Of a video that was made whole here while another server took it, and whose last block was refused by the store for
  // that: viewers find all of it there. OK: it was not taken.
  absl::Status LostBehindItsEnd();
  // Stores what came of OnCheckpoint, if its blocks are stored.
  void KeepCheckpoint();

  // The events of the stored blocks.
  absl::StatusOr<std::vector<std::vector<Recorded>>> ReadBlocks() const;
  // Of one that goes on: up to the first block that was cut off or is damaged, its media included. From there on they
  // are made again, with the same bytes.
  absl::StatusOr<std::vector<std::vector<Recorded>>> ReadWholeBlocks();
  // Puts them into the log.
  void Load(std::vector<std::vector<Recorded>> blocks);
  // Fills the log of one that has ended, the first time.
  absl::Status LoadEnded() ABSL_LOCKS_EXCLUDED(load_mutex_);

  // Of watches.
  void Detach(Watch& watch, bool unread);
  void OnChunkSent(const Watch& watch, const Chunk& chunk, int64_t bytes, int stalls);
  // Tells the scheduler how much has been taken, or stored where that is enough.
  void Pace();
  // Tells the scheduler where the viewers are, if they say so.
  void TellPlayback();

  const uint64_t id_;
  const CallOrigin origin_;
  const std::string name_;
  const std::shared_ptr<const VideoPlan> plan_;
  const StoredVideo description_;
  Store* const store_;
  const uint64_t token_;
  const absl::Duration max_unread_;
  const scheduler::Clock* const clock_;
  VideoHost* const host_;
  const absl::Duration accepted_;
  BlockRecords records_;
  ChunkLog log_;
  Strand strand_;

  // On the strand only.
  Maker maker_;
  std::vector<std::vector<Recorded>> shared_blocks_;  // of a fork, until it is accepted
  std::vector<Recorded> unstored_;                    // events since the last stored block
  int stored_blocks_ = 0;
  std::vector<Event> early_prompts_;  // of blocks that come after the one being encoded
  StoredCheckpoint unstored_checkpoint_;
  std::shared_ptr<void> held_;  // with it
  struct Telling {
    std::function<void(bool)> tell;
    bool waits = false;             // for the store
    std::vector<StoredFile> files;  // to be put when the shared blocks are stored
  };
  std::deque<Telling> telling_;  // the first one waits
  bool storing_shared_ = false;

  // Of a restored video, and of a fork.
  std::vector<BlockForm> made_forms_;
  std::set<int> told_prompts_;
  StoredCheckpoint checkpoint_;
  bool goes_on_ = false;
  absl::Status damage_;
  std::optional<StoredEnd> stored_end_;  // its log is loaded when somebody watches
  Mutex load_mutex_;
  bool loaded_ ABSL_GUARDED_BY(load_mutex_) = false;

  mutable Mutex store_mutex_;  // held while something is put, so that nothing is put behind a removal
  bool stores_ ABSL_GUARDED_BY(store_mutex_) = false;
  bool store_failed_ ABSL_GUARDED_BY(store_mutex_) = false, forgotten_ ABSL_GUARDED_BY(store_mutex_) = false;
  bool lost_ ABSL_GUARDED_BY(store_mutex_) = false;

  mutable Mutex mutex_;
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
  std::vector<std::pair<std::string, int>> changes_
      ABSL_GUARDED_BY(mutex_);  // prompts behind the plan's, and their blocks
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_VIDEO_H_
