// A video that begins with blocks of another one.
//
// It is the video that would be made from the other one's spec with one prompt change more, byte for byte: what a block
// shows depends on the seed, the size, the blocks' lengths and steps, and the prompts up to it. So a fork is created as
// any other video is, from that spec, and only finds its first blocks made. The device makes them again for what comes
// behind them, and nobody sees that. A stored checkpoint would save this work, but all forks that wait would hold
// theirs in memory: 358 MiB each at the 2B width.
#ifndef LONGTAKE_SERVER_VIDEO_FORK_H_
#define LONGTAKE_SERVER_VIDEO_FORK_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "server/telemetry/origin.h"
#include "server/video/error.h"
#include "server/video/event.h"
#include "server/video/request.h"
#include "server/video/tenant.h"

namespace longtake::server {

struct ForkRequest {
  Tenant tenant;
  CallOrigin origin = {};
  ForkSpec fork;
  DeliveryOptions options;
  std::string request_id;
  std::vector<FieldError> errors;  // found before
};

// The blocks that a fork shares, and what is needed to check that they are its own.
struct SharedBlocks {
  std::vector<int> latents;  // of all of the other video's blocks
  // Of each shared block the events in order, with media.
  std::vector<std::vector<Recorded>> blocks;
  int prompt_changes = 0;  // in them
};

// What the fork is made from. `texts`: the other video's prompts by number. The prompts of `shared` get the numbers
// that they have in a video of this spec: those that were never shown, for another came for the same block, are left
// out. StoreError: what is stored of the other video contradicts itself.
absl::StatusOr<VideoSpec> SpecOfFork(const ForkSpec& fork, const VideoPlan& source,
                                     const std::vector<std::string>& texts, SharedBlocks& shared);

// InvalidRequest: a video of this plan would have other blocks in place of the shared ones.
absl::Status CheckShared(const SharedBlocks& shared, const VideoPlan& plan, const ModelInfo& model);

// An error in a spec of SpecOfFork, with the fields' names in ForkVideoRequest. `shared_changes`: of
// SharedBlocks::prompt_changes.
absl::Status RenameFields(const absl::Status& error, int shared_changes);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_FORK_H_
