// Private to scheduler/: one request from its arrival to its end, which pass it could run next, and what it needs.
#ifndef LONGTAKE_SCHEDULER_SESSION_H_
#define LONGTAKE_SCHEDULER_SESSION_H_

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/playout.h"
#include "scheduler/cost_model.h"
#include "scheduler/forecast.h"
#include "scheduler/listener.h"
#include "scheduler/options.h"
#include "scheduler/quantiles.h"
#include "scheduler/request.h"

namespace longtake::scheduler {

class Session {
 public:
  enum class State {
    kWaiting,     // in the queue
    kRunning,     // has a place
    kSuspending,  // Device::Suspend is under way
    kSuspended,   // has given its place back
    kResuming,    // Device::Resume is under way; has a place
  };

  // Whether a live session counts in admission.
  enum class Attention {
    kAwake,   // its viewer plays, or waits for the next chunk
    kAsleep,  // its viewer pauses, or has read nothing for a while though chunks lie ready: it needs nothing
    kWaking,  // its viewer is back; it counts again as soon as admission finds room
  };

  explicit Session(Request request);

  const Request& request() const { return request_; }
  SessionId id() const { return request_.id; }
  bool live() const { return request_.delivery == Delivery::kLive; }

  // --- Passes --------------------------------------------------------------------------------------------------------

  // The pass that a lane of this role could run now, if any.
  std::optional<PassKind> Next(LaneRole role, const Options& options) const;
  // The pass that it could probably run in the lane when its pass under way there is done, if one is.
  std::optional<PassKind> After(LaneRole role) const;
  // Cost unit of the next pass of this kind: tokens, 0 for text.
  double Tokens(PassKind kind) const;
  // Tokens of the block before, which the first denoising pass under a new prompt commits again; 0: none.
  double RecommitTokens() const;

  // How much the load has to fall, by whatever an adaptive stream can do about it.
  enum class Pressure {
    kNone,
    kCrowded,    // streams would come late: one rung of the ladder below what time permits
    kSomeWaits,  // a live request waits for room: the lowest rung
  };
  // The pass as the device is told it. A block's steps are settled with its first: `margin` is what a block's time is
  // multiplied by to be safe.
  Pass Start(PassKind kind, absl::Duration now, const Costs& costs, double margin, Pressure pressure);
  struct Finished {
    PassReport report;        // without the batch's times and device seconds
    bool block_done = false;  // the pass was the block's last
    // Then: the block's time over what was expected when its steps were settled; 0: nothing was.
    double block_error = 0;
    bool first_chunk_done = false;  // the pass was the last of the video's first chunk
  };
  // The pass ended well; moves the session on.
  Finished Finish(PassKind kind, absl::Duration now);
  // It has a place again, in which its next block is the first to be decoded: whatever comes back with it is of the
  // first rung's decoder.
  void Resumed() { caches_level_ = 0; }
  // The pass ended with an error; the session stands where it stood.
  void Abandon(PassKind kind) { busy(kind) = false; }

  // As Scheduler::ChangePrompt, of a session that is not ending. Returns the block; `prompt` is its prompt from then
  // on.
  absl::StatusOr<int> ChangePrompt(int block, int prompt);
  int prompts() const { return prompts_; }  // so far, and the next one's number

  bool in_flight() const { return transformer_busy_ || decoder_busy_; }
  bool done() const { return decoded_blocks_ == blocks(); }
  // Before, between or behind blocks, with nothing under way: what a device can suspend.
  bool at_rest() const { return !in_flight() && step_ == 0 && decoded_blocks_ == committed_blocks_; }
  bool decoding_block() const { return decoded_latents_ > 0; }
  bool decoder_busy() const { return decoder_busy_; }
  bool first_chunk_done() const { return first_chunk_at_.has_value(); }

  // --- The viewer ----------------------------------------------------------------------------------------------------

  void Delivered(absl::Duration now, absl::Duration until);
  void Consumed(absl::Duration now, absl::Duration position, bool paused) {
    playout_.Report(now, position - begins_, paused);
  }

  bool has_stalled() const { return playout_.stalls() > 0; }
  // As many blocks are finished, or certain to be, as may lie undelivered.
  bool Parked(const Options& options) const {
    return committed_blocks_ < blocks() && committed_blocks_ - delivered_blocks_ >= options.max_undelivered_blocks;
  }
  // When the chunk being made has to be decoded: its delivery's time before the ones before it have been played.
  // Infinite while the viewer pauses.
  absl::Duration Due() const { return DueAt(ChunkStart()); }

  // What time alone changes: rests or wakes by the lead, sleeps and wakes by what its viewer does.
  void Update(absl::Duration now, const Options& options, const Costs& costs);
  // When time alone changes something next; infinite: never.
  absl::Duration NextUpdate(absl::Duration now, const Options& options, const Costs& costs) const;
  bool ahead() const { return ahead_; }  // its lead is long enough to rest
  bool held() const { return held_; }    // its lead is as long as it may be
  // Since when its client has taken nothing though as much lies ready as may; none where it is not parked.
  std::optional<absl::Duration> unread_since() const {
    if (!parked_since_.has_value() || undelivered_.empty()) return std::nullopt;
    return std::max({*parked_since_, last_delivery_, undelivered_.front().decoded});
  }

  // --- What it needs -------------------------------------------------------------------------------------------------

  // What a lane has to do next for the session, and by when. The transformer works on the block after the committed
  // ones, towards its commit; the decoder on the next chunk; one lane for all on the next chunk, denoising included.
  struct Remaining {
    int passes = 0;
    double seconds = 0;
  };
  // A block that has not begun counts as the ladder's first rung says, or as its last.
  enum class Fidelity { kFull, kLowest };
  // Alone on the device, or in batches of `company` sessions.
  Remaining ToNextChunk(const Costs& costs, int company = 1, LaneRole role = LaneRole::kAll,
                        Fidelity fidelity = Fidelity::kFull) const;
  // When that has to be done: of the transformer early enough that the block's first chunk can still be decoded in
  // time.
  absl::Duration LaneDue(const Costs& costs, LaneRole role) const;
  double SecondsLeft(const Costs& costs) const;  // until the end, alone
  // The longest pass that is still to come in the lane, alone; seconds.
  double LongestPass(const Costs& costs, LaneRole role) const;
  // Seconds of a lane per second that a live session needs to keep up with its viewer. A lead does not lessen it: it
  // will be used up. Blocks count at the ladder's lowest rung, for that is what the load can be brought down to.
  double NeededLoad(const Costs& costs, int company, LaneRole role) const;
  // The same with its moments, for a live session.
  Demand NeededBy(absl::Duration now, const Costs& costs, int company, LaneRole role) const;

  // --- Owned by the scheduler ----------------------------------------------------------------------------------------

  State state = State::kWaiting;
  Attention attention = Attention::kAwake;
  size_t device = 0;       // where it has its place; while it waits, where its quote expects it
  int told_position = 0;   // the last one that the listener was told
  uint64_t last_turn = 0;  // turns are counted over all sessions; 0: had none
  uint64_t order = 0;      // of admission
  int tenant = 0;
  absl::Duration arrived;
  absl::Duration first_due;       // of the first chunk: as predicted, without the quote's margin
  absl::Duration first_quoted;    // by when it was promised; infinite: was not
  absl::Duration start_expected;  // when it should have a place, as seen when it came
  // Since when the lane of its next pass has passed it over; none while it could not run.
  std::optional<absl::Duration>& passed_over_since(PassKind kind) {
    return kind == PassKind::kDecode ? decoder_waits_ : transformer_waits_;
  }
  void NotPassedOver(LaneRole role) {
    if (role != LaneRole::kTransformer) decoder_waits_.reset();
    if (role != LaneRole::kDecoder) transformer_waits_.reset();
  }
  absl::Duration timer = absl::InfiniteDuration();  // when it has to be looked at though nothing happens
  bool yields = false;                              // stops after its block: its place is wanted
  bool keeps_place = false;                         // the device could not suspend it
  std::optional<absl::Status> end_why;              // set: no more passes, ends when none is under way

 private:
  int blocks() const { return static_cast<int>(request_.block_latents.size()); }
  int latents(int block) const { return request_.block_latents[block]; }
  double block_tokens(int block) const { return latents(block) * request_.latent_tokens; }
  const Rung& rung(int level) const { return request_.ladder[level]; }
  int lowest() const { return static_cast<int>(request_.ladder.size()) - 1; }
  // Of a latent frame.
  double decode_tokens(int level) const { return rung(level).decode_cost * request_.latent_tokens; }
  // Of the latent frames before `block` that are decoded once more, where it is decoded by another decoder than what
  // came before it.
  double RebuildTokens(int block, int level) const;
  bool& busy(PassKind kind) { return kind == PassKind::kDecode ? decoder_busy_ : transformer_busy_; }
  bool PromptDue() const { return !prompt_at_.empty() && prompt_at_.begin()->first <= committed_blocks_; }

  // Positions in the video.
  absl::Duration StartOf(int block, int latent = 0) const;
  absl::Duration Length() const { return StartOf(blocks()); }
  int ChunkLatents(int block) const;  // of the block's first chunk
  int ChunkEnd() const;               // latents of the block being decoded, when its next chunk is whole
  absl::Duration ChunkStart() const;  // of the chunk being made
  absl::Duration DueAt(absl::Duration position) const;
  absl::Duration Delivery() const;  // the longest of the last ones
  absl::Duration Lead(absl::Duration now) const {
    return StartOf(committed_blocks_) - begins_ - playout_.Position(now);
  }
  absl::Duration HoldsFrom(const Options& options, const Costs& costs) const;
  absl::Duration AsleepAfter() const;

  int ChooseLevel(absl::Duration now, const Costs& costs, double margin, Pressure pressure) const;
  double Stretch(absl::Duration now) const;

  // Seconds in a lane: denoising and commit of a block; decodes of its latents [from, to); what building another
  // decoder's memory adds to the first of them.
  double Transform(const Costs& costs, int block, int steps, int company, LaneRole role) const;
  double Decode(const Costs& costs, int block, int level, int from, int to, int company, LaneRole role) const;
  double Rebuild(const Costs& costs, int block, int level, LaneRole role) const;
  // The level of the block that is denoised next, or as it may be expected.
  int LevelOfNext(Fidelity fidelity) const;
  Remaining TransformLeft(const Costs& costs, int company, Fidelity fidelity) const;
  Demand TransformerNeeds(absl::Duration now, const Costs& costs, int company) const;
  // Of the block that is denoised next, alone on the device: until its first chunk, and whole.
  double NextFront(const Costs& costs, int level) const;
  double NextBlock(const Costs& costs, int level) const;

  const Request request_;
  std::vector<int> first_latent_;  // latent frames before each block, and of all

  // The viewer.
  absl::Duration begins_;  // the video's time at which this session goes on; playout_ counts from there
  Playout playout_;
  struct Chunk {
    absl::Duration until;  // the video's
    absl::Duration decoded;
  };
  std::deque<Chunk> undelivered_;
  absl::Duration last_delivery_ = -absl::InfiniteDuration();
  Quantiles deliveries_{tuning::kDeliveries};  // seconds from decoded to delivered, up to the chunk's block's length
  int delivered_blocks_ = 0;
  std::optional<absl::Duration> first_chunk_at_;  // decoded
  std::optional<absl::Duration> parked_since_;
  bool ahead_ = false, held_ = false;

  // Passes.
  int passes_ = 0, passes_done_ = 0;
  std::map<int, int> prompt_at_;  // block to prompt, of those still to be encoded
  int prompts_ = 1;
  bool prompt_fresh_ = false;  // encoded, and the block whose prompt it is has not begun
  bool recommits_ = false;     // the next denoising pass is the first under a new prompt
  std::vector<int> levels_;    // of the blocks; 0 of those that have not begun
  int caches_level_ = 0;       // whose decoder decoded last
  int steps_ = 1;              // of block committed_blocks_
  int step_ = 0;               // denoising passes done in it
  // A block being made: when it began, the seconds predicted for it alone on the device (0: they were not known), and
  // how many times longer than that it was expected to take.
  struct Making {
    absl::Duration began;
    double alone = 0, stretch = 1;
    double Stretch(absl::Duration now) const { return alone > 0 ? absl::ToDoubleSeconds(now - began) / alone : 0; }
  };
  std::deque<Making> making_;  // two where one is decoded beside the next one's denoising
  double stretch_ = 1;         // how much longer than alone blocks take, a moving mean
  int committed_blocks_ = 0;
  int decoded_blocks_ = 0;   // committed_blocks_ or one less
  int decoded_latents_ = 0;  // in block decoded_blocks_
  bool transformer_busy_ = false, decoder_busy_ = false;
  std::optional<absl::Duration> transformer_waits_, decoder_waits_;
};

}  // namespace longtake::scheduler

#endif  // LONGTAKE_SCHEDULER_SESSION_H_
