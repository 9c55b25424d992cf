// A video that begins with blocks of another one.
//
// It is the video that would be made from the other one's spec with one prompt change more, byte for byte: a block
// depends on the seed and on the prompts up to it, and on nothing else. So a fork is created as any other video is,
// from that spec, and only finds its first blocks made.
#ifndef LONGTAKE_SERVER_VIDEO_FORK_H_
#define LONGTAKE_SERVER_VIDEO_FORK_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "engine/engine.h"
#include "server/store/store.h"
#include "server/video/error.h"
#include "server/video/event.h"
#include "server/video/request.h"
#include "server/video/stored_video.h"

namespace longtake::server {

// Fields as in longtake.v1.ForkVideoRequest.
struct ForkRequest {
  std::string name;
  int from_block = 0;
  std::string prompt;
  std::vector<PromptChange> prompt_changes;
  std::optional<absl::Duration> duration;
  DeliveryOptions options;
  std::string request_id;
  std::vector<FieldError> errors;  // found before
};

// The blocks that a fork shares, and what is needed to check that they are its own.
struct SharedBlocks {
  std::string source;  // the other video's name
  std::vector<int> source_latents;
  // Of each block the events in order, with media.
  std::vector<std::vector<Recorded>> blocks;
};

// What the fork is made from. `texts`: the other video's prompts by number. The prompts of `shared` get the numbers
// that they have in a video of this spec: those that were never shown, for another came for the same block, are left
// out.
VideoSpec SpecOfFork(const ForkRequest& request, const VideoPlan& source, const std::vector<std::string>& texts,
                     SharedBlocks& shared);

// InvalidRequest: a video of this plan would have other blocks in place of the shared ones.
absl::Status CheckShared(const SharedBlocks& shared, const VideoPlan& plan, const ModelInfo& model);

// What the other video's store has of its state, if it is of use to a video of this plan. Else nothing, and the shared
// blocks are made again, which nobody sees.
StoredCheckpoint CheckpointOfShared(const SharedBlocks& shared, const VideoPlan& plan, const Store* store);

// An error in a spec of SpecOfFork, with the fields' names in ForkVideoRequest. `changes`: of the spec's prompt
// changes, those before the fork's own.
absl::Status RenameFields(const absl::Status& error, size_t changes);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_FORK_H_
