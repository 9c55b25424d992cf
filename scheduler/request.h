// What is asked of the scheduler, and its answer.
#ifndef LONGTAKE_SCHEDULER_REQUEST_H_
#define LONGTAKE_SCHEDULER_REQUEST_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "scheduler/device.h"

namespace longtake::scheduler {

enum class Delivery { kLive, kOffline };

// One way of making a block. A session's ladder of them says what it may leave out where it would be late otherwise.
struct Rung {
  int steps = 1;  // of the block's denoising
  // What decoding a latent frame costs, as a share of what it costs other sessions with as many `latent_tokens`: below
  // 1 by a smaller decoder. Above 0.
  double decode_cost = 1;
  // What decoding the video's first latent frame costs, as a share of any other's: a causal VAE makes one frame of it,
  // and of the others as many as its temporal stride; one that looks ahead needs several latent frames for it. Above 0.
  double first_decode = 1;
  // Latent frames before the block that are decoded once more where the block before had another `decode_cost`: the
  // other decoder's memory has to be built. Fewer where there are fewer.
  int rebuild_latents = 0;
};

struct Request {
  SessionId id{};
  Delivery delivery = Delivery::kLive;
  std::vector<int> block_latents;  // latent frames of each block, each above 0
  // How a block is made: as the first says, except that a live session's block which would be late otherwise may be
  // made as a later one says. Each has less to do than the one before: neither more steps nor a higher decode_cost, and
  // not both the same. At least one.
  std::vector<Rung> ladder = {Rung{}};
  // Blocks, from 1 on, before which another prompt is encoded: prompts 1, 2, ... Prompt 0 is the first block's. Of two
  // for one block the later holds.
  std::vector<int> prompt_blocks;
  // It was accepted before: it waits as long as it takes, and the queue's limits are for others.
  bool accepted_before = false;
  // Of a session that goes on: so many blocks were finished before, and Device::Resume brings back what it needs of
  // them.
  int made_blocks = 0;
  // Of a session that goes on or is made again: for its first blocks, the indices into `ladder` that they had. Else a
  // later block would follow other frames than those that were shown. Its quote says no first chunk: the first that
  // comes is of a block that was shown.
  std::vector<int> made_levels;
  // What a pass over one latent frame costs, in a unit that is the same for all sessions of the device: transformer
  // tokens, or anything in proportion to them. Above 0.
  double latent_tokens = 1;
  // Seconds of video in the video's first latent frame and in any other one; above 0.
  double first_latent_seconds = 1, latent_seconds = 1;
  // Latent frames of a block that leave together, as one chunk; the last chunk of a block may have fewer. 0: a block is
  // one chunk.
  int chunk_latents = 1;
  // The session's own limits, where they are less than those of Options. A lead below one block and the time that it
  // takes is not kept: the stream would stall by its own request.
  absl::Duration max_lead = absl::InfiniteDuration();
  absl::Duration max_wait = absl::InfiniteDuration();
  // From now until the last chunk, at the latest; a request that is quoted a later one is refused.
  absl::Duration deadline = absl::InfiniteDuration();
  std::string tenant;
  int priority = 0;  // among the tenant's offline requests; higher goes first
};

// InvalidArgument names the field that contradicts itself or another.
absl::Status Check(const Request& request);

// Why a request was refused.
enum class Refusal {
  kNone,
  kInvalid,      // the request contradicts itself, or its id is in use: trying again changes nothing
  kStopped,      // StopAdmission
  kNoOffline,    // Options leave no place to offline requests: trying again changes nothing
  kTenantLimit,  // the tenant has as many live requests as it may
  kQueueFull,    // as many requests wait as may
  kLongWait,     // longer than Options::max_wait
  kOwnMaxWait,   // longer than Request::max_wait
  kDeadline,     // the last chunk would come after Request::deadline
};

const char* Name(Refusal refusal);

// What a request may expect, from measured costs and from what was admitted before it. The same computation prices and
// admits: an accepted request is kept to the quote that it was given.
struct Quote {
  absl::Status status;               // why not, if refused
  Refusal refusal = Refusal::kNone;  // the same, to tell cases apart
  absl::Duration retry_after;        // of a refused request; infinite where trying again changes nothing
  absl::Duration first_chunk;        // from now, at the latest: live: delivered. Infinite before costs are known
  absl::Duration last_chunk;         // the same
  absl::Duration start;              // from now until it gets a place, as predicted
  double confidence = 0;             // share of the live quotes so far that were kept, (kept + 1) / (given + 2)
  int waiting = 0;                   // requests of its delivery that wait before it

  bool ok() const { return refusal == Refusal::kNone; }
};

}  // namespace longtake::scheduler

#endif  // LONGTAKE_SCHEDULER_REQUEST_H_
