// What clients ask for, and how it is checked: whole, before anything is queued.
#ifndef LONGTAKE_SERVER_VIDEO_REQUEST_H_
#define LONGTAKE_SERVER_VIDEO_REQUEST_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/engine.h"
#include "scheduler/scheduler.h"
#include "server/media/media.h"
#include "server/video/error.h"

namespace longtake::server {

struct PromptChange {
  std::string prompt;
  std::optional<absl::Duration> at;  // nothing: the next block
  friend bool operator==(const PromptChange&, const PromptChange&) = default;
};

struct Adapter {
  std::string name;
  double strength = 1;
  friend bool operator==(const Adapter&, const Adapter&) = default;
};

// What a video shows; fields as in longtake.v1.VideoSpec.
struct VideoSpec {
  std::string prompt, negative_prompt;
  std::optional<int64_t> seed;
  std::optional<Size> size;
  absl::Duration duration;
  // The file as it was sent. Of a video's plan: a PNG of the video's size. Of the spec that a request id stands for:
  // PictureDigest of what was sent.
  std::string first_image;
  std::string model;
  std::vector<PromptChange> prompt_changes;
  std::vector<Adapter> adapters;
  DecoderKind decoder = DecoderKind::kFull;
  friend bool operator==(const VideoSpec&, const VideoSpec&) = default;
};

// The video that another one is up to a block; fields as in longtake.v1.ForkVideoRequest.
struct ForkSpec {
  std::string name;  // of the other one
  int from_block = 0;
  std::string prompt;
  std::vector<PromptChange> prompt_changes;
  std::optional<absl::Duration> duration;
  friend bool operator==(const ForkSpec&, const ForkSpec&) = default;
};

enum class Fidelity { kFull, kAdaptive };
enum class Disconnect { kCancel, kContinue, kPause };

// How it is wanted; fields as in longtake.v1.DeliveryOptions.
struct DeliveryOptions {
  scheduler::Delivery delivery = scheduler::Delivery::kLive;
  std::optional<absl::Duration> max_wait, max_lead;
  Fidelity fidelity = Fidelity::kFull;
  int priority = 0;
  std::optional<Disconnect> disconnect;
  std::optional<absl::Duration> reconnect_timeout;
  friend bool operator==(const DeliveryOptions&, const DeliveryOptions&) = default;
};

// Limits of requests that are the server's and not the model's.
struct RequestLimits {
  int max_prompt_bytes = 4096;
  int max_prompt_changes = 64;
  int64_t max_first_image_bytes = int64_t{10} << 20;
  // 16 megapixels: a telephone's picture has 12. Decoding takes 4 bytes for each, of one at a time.
  int64_t max_first_image_pixels = int64_t{1} << 24;
};

// What will be made.
struct VideoPlan {
  VideoSpec spec;  // seed, size and model are there
  DeliveryOptions options;
  SessionSpec session;
  media::FrameRate rate;
  std::vector<int> block_latents, block_frames;  // by block
  std::vector<int64_t> block_starts;             // first frame of each block, then of what would come after the last
  std::vector<std::string> prompts;              // by number
  std::vector<int> prompt_blocks;                // from where on each but the first holds

  int blocks() const { return static_cast<int>(block_frames.size()); }
  int64_t frames() const { return block_starts.back(); }
  absl::Duration BlockStart(int block) const { return rate.TimeOf(block_starts[block]); }
  // The prompt that holds in a block. Of two for one block it is the later.
  int PromptAt(int block) const;
  // The first block that begins at or after `at`, give or take a microsecond; blocks() where none does.
  int BlockAt(absl::Duration at) const;
};

enum class Purpose { kMake, kQuote };  // a quote needs no prompt

// The plan, or InvalidRequest with every field at fault. `fresh_seed` is taken where the spec has none. Fields are
// named as in CreateVideoRequest, and `errors` are those that were found before.
absl::StatusOr<VideoPlan> CheckRequest(const VideoSpec& spec, const DeliveryOptions& options,
                                       std::vector<FieldError> errors, Purpose purpose, const Engine& engine,
                                       const RequestLimits& limits, int64_t fresh_seed);

// A prompt on its own; `field` is its path. Nothing: it is fit.
std::optional<FieldError> CheckPrompt(const std::string& field, const std::string& prompt, int max_prompt_bytes);

// An id that the caller has chosen; `field` is its path. Nothing: it is at most 64 of a-z, A-Z, 0-9, '.', '_' and '-'.
std::optional<FieldError> CheckIdentifier(const std::string& field, const std::string& id);

// "models/{model}" of a model folder's name.
std::string ModelName(const ModelInfo& model);

// Frames of a video of `latent_frames`.
int64_t FramesOf(const ModelInfo& model, int latent_frames);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_REQUEST_H_
