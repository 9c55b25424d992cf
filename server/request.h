// A request, checked whole before anything is queued.
#ifndef LONGTAKE_SERVER_REQUEST_H_
#define LONGTAKE_SERVER_REQUEST_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "longtake/v1/longtake.pb.h"
#include "scheduler/scheduler.h"

namespace longtake::server {

// What will be made.
struct VideoPlan {
  SessionSpec spec;
  std::vector<int> block_latents, block_frames;  // by block
  int64_t frames = 0;
  double seconds = 0;
  std::string prompt, negative_prompt;
  std::vector<std::string> story;  // prompts after the first
  std::vector<int> story_blocks;   // from where on each holds
  scheduler::Delivery delivery = scheduler::Delivery::kLive;
  std::string tenant;
  int priority = 0;
  absl::Duration max_wait = absl::InfiniteDuration();  // for a place
  absl::Duration max_lead = absl::InfiniteDuration();  // over its viewer
  bool adaptive = false;                               // a block may have fewer steps
};

struct FieldError {
  std::string field;  // as in GenerateRequest
  std::string description;
};

struct CheckedRequest {
  VideoPlan plan;                  // meaningful without errors
  std::vector<FieldError> errors;  // every field at fault
};

enum class Purpose { kGenerate, kQuote };  // a quote needs no prompt

// `fresh_seed` is taken where the request has none.
CheckedRequest CheckRequest(const v1::GenerateRequest& request, Purpose purpose, const Engine& engine,
                            int max_prompt_bytes, uint64_t fresh_seed);

// A prompt on its own; `field` is its path. Empty: it is fit.
std::vector<FieldError> CheckPrompt(const std::string& field, const std::string& prompt, int max_prompt_bytes);

// The first block that begins at or after `seconds`; the number of blocks where none does.
int BlockAt(const VideoPlan& plan, double fps, double seconds);
// When a block begins.
double BlockSeconds(const VideoPlan& plan, double fps, int block);

// Frames of a video of `latent_frames`.
int64_t FramesOf(const ModelInfo& model, int latent_frames);

v1::Model Describe(const ModelInfo& model, int max_prompt_bytes);
v1::Quote Describe(const scheduler::Quote& quote);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_REQUEST_H_
