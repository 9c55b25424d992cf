#include "server/video/stored_faults.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"

namespace longtake::server {
namespace {

// Above every number of frames, blocks and bytes of a chunk; sums and products of such numbers stay within 64 bits.
constexpr int64_t kMost = 1 << 30;

bool Within(int64_t number, int64_t least) { return number >= least && number < kMost; }

}  // namespace

bool HasWholeNumbers(const nlohmann::json& value, absl::string_view field) {
  if (value.is_number_float()) return field == "seconds" || field == "confidence" || field == "strength";
  if (value.is_primitive()) return true;
  for (const auto& [key, each] : value.items()) {
    if (!HasWholeNumbers(each, key)) return false;
  }
  return true;
}

std::optional<std::string> FaultOf(const VideoPlan& plan) {
  const size_t blocks = plan.block_frames.size();
  if (blocks == 0 || plan.block_latents.size() != blocks || plan.block_starts.size() != blocks + 1) {
    return "its lists of blocks are of different lengths";
  }
  if (plan.block_starts.front() != 0 || !Within(plan.block_starts.back(), 1)) return "its frames are none, or too many";
  for (size_t i = 0; i < blocks; ++i) {
    if (!Within(plan.block_frames[i], 1) || !Within(plan.block_latents[i], 1) ||
        plan.block_starts[i + 1] != plan.block_starts[i] + plan.block_frames[i]) {
      return absl::StrCat("block ", i, " does not begin where the one before ends");
    }
  }
  if (!Within(plan.rate.numerator, 1) || !Within(plan.rate.denominator, 1)) return "its frame rate is none";
  if (!Within(plan.session.size.width, 1) || !Within(plan.session.size.height, 1)) return "its size is none";
  if (!Within(plan.session.latent_frames, 1)) return "it has no latent frames";
  if (plan.prompts.size() != plan.prompt_blocks.size() + 1) return "its prompts and their blocks do not fit";
  if (std::any_of(plan.prompt_blocks.begin(), plan.prompt_blocks.end(), [](int block) { return !Within(block, 0); })) {
    return "a prompt is of no block";
  }
  return std::nullopt;
}

bool IsOfBlock(const Recorded& event, int block) {
  if (!Within(event.media_bytes, 0)) return false;
  const auto* chunk = std::get_if<Chunk>(&event.event.body);
  return chunk == nullptr || (chunk->block == block && Within(chunk->index, 0) && Within(chunk->first_frame, 0) &&
                              Within(chunk->frames, 1));
}

}  // namespace longtake::server
