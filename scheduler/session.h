// Private to scheduler/: one request from its arrival to its end, and which pass it could run next.
#ifndef LONGTAKE_SCHEDULER_SESSION_H_
#define LONGTAKE_SCHEDULER_SESSION_H_

#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "scheduler/cost_model.h"
#include "scheduler/forecast.h"
#include "scheduler/scheduler.h"

namespace longtake::scheduler {

enum class Lane { kTransformer, kDecoder };

inline Lane LaneOf(PassKind kind) { return kind == PassKind::kDecode ? Lane::kDecoder : Lane::kTransformer; }

// Not thread-safe: the scheduler's lock guards it.
class Session {
 public:
  enum class State {
    kWaiting,  // in the queue
    kOpening,  // Device::Open is being called
    kRunning,  // has a place
    kClosing,  // Device::Close is being called
  };

  explicit Session(Request request);

  const Request& request() const { return request_; }

  // The pass that the lane could run now, if any.
  std::optional<PassKind> Next(Lane lane, const Options& options) const;

  // Cost unit of the next pass of this kind: tokens, 0 for text.
  double Tokens(PassKind kind) const;
  // The longest pass that is still to come, alone on the device; seconds.
  double LongestPass(const CostModel& cost) const;

  // What is left to run: until the next chunk is decoded, alone on the device or sharing batches with `company`
  // sessions in all, and until the end, alone.
  struct Remaining {
    int passes = 0;
    double seconds = 0;
  };
  Remaining ToNextChunk(const CostModel& cost, int company = 1) const;
  double SecondsLeft(const CostModel& cost) const;
  // What a live stream needs to keep up with its viewer, one of `company` that share batches: device seconds a second.
  // A lead does not lessen it: it will be used up. 0 without a pace, and once all is committed.
  double NeededLoad(const CostModel& cost, int company) const;
  // The same with the lead, for a live session with a pace.
  Demand NeededBy(absl::Duration now, const CostModel& cost, int company) const;
  bool has_pace() const { return live() && video_seconds() > 0; }

  // The pass as the device is told it. A block's steps are settled with its first.
  Pass Start(PassKind kind, absl::Duration now, const CostModel& cost);
  // The pass ended well; moves the session on. The report lacks times and device seconds.
  PassReport Finish(PassKind kind, absl::Duration now);
  // The pass ended with an error; the session stands where it stood.
  void Abandon(PassKind kind) { busy(kind) = false; }

  // As Scheduler::ChangePrompt, of a session that is not ending.
  absl::StatusOr<int> ChangePrompt(int block, int prompt);
  // Of the block before, which the first denoising pass under a new prompt commits again; 0: none.
  double RecommitTokens() const;

  bool in_flight() const { return transformer_busy_ || decoder_busy_; }
  bool done() const { return decoded_blocks_ == blocks(); }
  int decoded_blocks() const { return decoded_blocks_; }
  int passes_left() const { return passes_ - passes_done_; }
  // As many chunks are finished, or certain to be, as may lie undelivered.
  bool Parked(const Options& options) const {
    return committed_blocks_ < blocks() && committed_blocks_ - delivered_ >= options.max_undelivered_chunks;
  }
  void ChunkDelivered(absl::Duration now);

  bool live() const { return request_.delivery == Delivery::kLive; }
  bool started() const { return play_start_.has_value(); }
  // Of the video before this block.
  double VideoSeconds(int blocks) const { return video_seconds_[blocks]; }
  double video_seconds() const { return video_seconds_.back(); }
  // When the chunk being made has to be decoded: its delivery's time before the ones before it have been played.
  absl::Duration Due() const {
    return started() ? *play_start_ + absl::Seconds(VideoSeconds(decoded_blocks_)) - delivery_ : first_due;
  }
  // Rests or wakes by the lead, counted up to the last committed block.
  void UpdateLead(absl::Duration now, const Options& options);
  bool ahead() const { return ahead_; }

  // Owned by the scheduler.
  State state = State::kWaiting;
  int told_position = 0;     // the last one that the listener heard
  uint64_t last_turn = 0;    // turns are counted over all sessions; 0: had none
  uint64_t waits_since = 0;  // batch in which it last had a pass, or could not have had one
  uint64_t order = 0;        // of admission
  int tenant = 0;
  absl::Duration first_due;       // of the first chunk
  absl::Duration first_quoted;    // by when it was promised; infinite: was not
  absl::Duration start_expected;  // when it should have a place, as seen when it came
  std::optional<absl::Duration> unread_since;
  std::optional<absl::Status> end_why;  // set: no more passes, ends when none is under way

 private:
  // Alone on the device: of any block, and of the one whose denoising comes next.
  double BlockSeconds(const CostModel& cost, int block, int steps) const;
  double NextBlockSeconds(const CostModel& cost, int steps) const;
  int BlockPasses(int block) const { return request_.denoise_steps + 1 + request_.block_latents[block]; }
  bool PromptDue() const { return !prompt_at_.empty() && prompt_at_.begin()->first <= committed_blocks_; }
  int StepsAt(int level) const {
    return request_.step_ladder.empty() ? request_.denoise_steps : request_.step_ladder[level];
  }
  int LowestSteps() const { return StepsAt(static_cast<int>(request_.step_ladder.size()) - 1); }
  int ChooseLevel(absl::Duration now, const CostModel& cost) const;
  double LeadSeconds(absl::Duration now) const;
  int blocks() const { return static_cast<int>(request_.block_latents.size()); }
  bool& busy(PassKind kind) { return LaneOf(kind) == Lane::kDecoder ? decoder_busy_ : transformer_busy_; }

  Request request_;
  std::vector<double> video_seconds_;  // before each block, and of all
  int most_latents_ = 0;               // of a block
  // The first chunk's delivery, later by all the time for which the viewer has waited since.
  std::optional<absl::Duration> play_start_;
  std::deque<absl::Duration> decoded_at_;  // of undelivered chunks
  absl::Duration last_delivery_ = -absl::InfiniteDuration();
  absl::Duration delivery_;  // the longest that a chunk took to its client, up to the chunk's own length
  bool ahead_ = false;
  bool held_ = false;  // its lead is as long as the request permits
  int passes_ = 0, passes_done_ = 0;
  std::map<int, int> prompt_at_;  // block to prompt, of those still to be encoded
  bool recommits_ = false;        // the next denoising pass is the first under a new prompt
  int level_ = 0, steps_ = 1;     // of block committed_blocks_
  int step_ = 0;                  // denoising passes done in it
  // A block being made: when it began, and the seconds predicted for it alone on the device; 0: they were not known.
  struct Making {
    absl::Duration began;
    double alone = 0;
    double Stretch(absl::Duration now) const { return alone > 0 ? absl::ToDoubleSeconds(now - began) / alone : 0; }
  };
  std::deque<Making> making_;  // two where one is decoded beside the next one's denoising
  double stretch_ = 1;         // how much longer than alone blocks take, a moving mean
  int committed_blocks_ = 0;
  int decoded_blocks_ = 0;   // committed_blocks_ or one less
  int decoded_latents_ = 0;  // in block decoded_blocks_
  int delivered_ = 0;        // chunks
  bool transformer_busy_ = false, decoder_busy_ = false;
};

}  // namespace longtake::scheduler

#endif  // LONGTAKE_SCHEDULER_SESSION_H_
