#include "server/video/fork.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace longtake::server {
namespace {

// Every block has a chunk.
const Chunk& ChunkOf(const std::vector<Recorded>& block) { return std::get<Chunk>(block.back().event.body); }

}  // namespace

VideoSpec SpecOfFork(const ForkRequest& request, const VideoPlan& source, const std::vector<std::string>& texts,
                     SharedBlocks& shared) {
  VideoSpec spec = source.spec;
  spec.prompt_changes.clear();
  if (request.duration.has_value()) spec.duration = *request.duration;

  std::map<int, int> numbers;  // the fork's, by the other video's
  for (size_t i = 0; i < shared.blocks.size(); ++i) {
    const int prompt = ChunkOf(shared.blocks[i]).prompt;
    if (!numbers.emplace(prompt, numbers.size()).second) continue;
    if (i == 0) {
      spec.prompt = texts[prompt];
    } else {
      spec.prompt_changes.push_back({texts[prompt], source.BlockStart(static_cast<int>(i))});
    }
  }
  for (std::vector<Recorded>& block : shared.blocks) {
    std::erase_if(block, [&numbers](const Recorded& each) {
      const auto* changed = std::get_if<PromptChanged>(&each.event.body);
      return changed != nullptr && !numbers.contains(changed->prompt);
    });
    for (Recorded& each : block) {
      if (auto* chunk = std::get_if<Chunk>(&each.event.body); chunk != nullptr) {
        chunk->prompt = numbers.at(chunk->prompt);
        if (chunk->report.has_value()) chunk->report->prompt = chunk->prompt;
      } else {
        int& prompt = std::get<PromptChanged>(each.event.body).prompt;
        prompt = numbers.at(prompt);
      }
    }
  }

  spec.prompt_changes.push_back({request.prompt, source.BlockStart(request.from_block)});
  spec.prompt_changes.insert(spec.prompt_changes.end(), request.prompt_changes.begin(), request.prompt_changes.end());
  return spec;
}

absl::Status CheckShared(const SharedBlocks& shared, const VideoPlan& plan, const ModelInfo& model) {
  const size_t count = shared.blocks.size();
  if (count > plan.block_latents.size() ||
      !std::equal(shared.source_latents.begin(), shared.source_latents.begin() + static_cast<int64_t>(count),
                  plan.block_latents.begin())) {
    return InvalidRequest({{"duration", "blocks before from_block would have other lengths"}});
  }
  const bool fewer = std::any_of(
      shared.blocks.begin(), shared.blocks.end(),
      [&model](const std::vector<Recorded>& block) { return ChunkOf(block).denoise_steps < model.denoise_steps; });
  if (fewer && plan.options.fidelity != Fidelity::kAdaptive) {
    return InvalidRequest({{"delivery_options.fidelity",
                            "blocks before from_block were made with fewer steps, which only an adaptive "
                            "video may have"}});
  }
  return absl::OkStatus();
}

StoredCheckpoint CheckpointOfShared(const SharedBlocks& shared, const VideoPlan& plan, const Store* store) {
  // A state is of a video of one length.
  if (store == nullptr || shared.source_latents != plan.block_latents) return {};
  absl::StatusOr<StoredCheckpoint> checkpoint = ReadStoredCheckpoint(*store, shared.source);
  if (!checkpoint.ok() || checkpoint->blocks > static_cast<int>(shared.blocks.size())) return {};
  return *std::move(checkpoint);
}

absl::Status RenameFields(const absl::Status& error, size_t changes) {
  ErrorDetails details = DetailsOf(error);
  if (details.reason != Reason::kInvalidRequest) return error;
  for (FieldError& each : details.fields) {
    absl::string_view field = each.field;
    if (!absl::ConsumePrefix(&field, "spec.")) continue;
    absl::string_view rest = field;
    size_t number = 0;
    const size_t bracket = field.find(']');
    const bool of_change = absl::ConsumePrefix(&rest, "prompt_changes[") && bracket != absl::string_view::npos &&
                           absl::SimpleAtoi(rest.substr(0, rest.find(']')), &number) && number >= changes;
    if (!of_change) {
      each.field = std::string(field);
    } else if (number > changes) {
      each.field = absl::StrCat("prompt_changes[", number - changes - 1, field.substr(bracket));
    } else {
      each.field = absl::EndsWith(field, ".prompt") ? "prompt" : "from_block";
    }
  }
  return InvalidRequest(std::move(details.fields));
}

}  // namespace longtake::server
