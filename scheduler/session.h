// Private to scheduler/: one request from its arrival to its end, and which pass it could run next.
#ifndef LONGTAKE_SCHEDULER_SESSION_H_
#define LONGTAKE_SCHEDULER_SESSION_H_

#include <optional>

#include "absl/status/status.h"
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

  void Start(PassKind kind);
  // The pass ended well; moves the session on. The report lacks times and device seconds.
  PassReport Finish(PassKind kind);
  // The pass ended with an error; the session stands where it stood.
  void Abandon(PassKind kind) { busy(kind) = false; }

  bool in_flight() const { return transformer_busy_ || decoder_busy_; }
  bool done() const { return decoded_blocks_ == blocks(); }
  int decoded_blocks() const { return decoded_blocks_; }
  int passes_left() const { return passes_ - passes_done_; }
  // As many chunks are finished, or certain to be, as may lie undelivered.
  bool Parked(const Options& options) const {
    return committed_blocks_ < blocks() && committed_blocks_ - delivered_ >= options.max_undelivered_chunks;
  }
  void ChunkDelivered() {
    if (delivered_ < decoded_blocks_) ++delivered_;
  }

  // Owned by the scheduler.
  State state = State::kWaiting;
  int told_position = 0;                // the last one that the listener heard
  uint64_t last_turn = 0;               // turns are counted over all sessions; 0: had none
  std::optional<absl::Status> end_why;  // set: no more passes, ends when none is under way

 private:
  int blocks() const { return static_cast<int>(request_.block_latents.size()); }
  bool& busy(PassKind kind) { return LaneOf(kind) == Lane::kDecoder ? decoder_busy_ : transformer_busy_; }

  Request request_;
  int passes_ = 0, passes_done_ = 0;
  bool has_prompt_ = false;
  int step_ = 0;  // denoising passes done in block committed_blocks_
  int committed_blocks_ = 0;
  int decoded_blocks_ = 0;   // committed_blocks_ or one less
  int decoded_latents_ = 0;  // in block decoded_blocks_
  int delivered_ = 0;        // chunks
  bool transformer_busy_ = false, decoder_busy_ = false;
};

}  // namespace longtake::scheduler

#endif  // LONGTAKE_SCHEDULER_SESSION_H_
