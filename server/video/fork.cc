#include "server/video/fork.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/video/block_form.h"

namespace longtake::server {
namespace {

// Every block has a chunk.
const Chunk& ChunkOf(const std::vector<Recorded>& block) { return std::get<Chunk>(block.back().event.body); }

}  // namespace

absl::StatusOr<VideoSpec> SpecOfFork(const ForkSpec& fork, const VideoPlan& source,
                                     const std::vector<std::string>& texts, SharedBlocks& shared) {
  VideoSpec spec = source.spec;
  spec.prompt_changes.clear();
  if (fork.duration.has_value()) spec.duration = *fork.duration;

  std::map<int, int> numbers;  // the fork's, by the other video's
  for (size_t i = 0; i < shared.blocks.size(); ++i) {
    const int prompt = ChunkOf(shared.blocks[i]).prompt;
    if (prompt < 0 || prompt >= static_cast<int>(texts.size())) {
      return StoreError(absl::DataLossError(
          absl::StrCat("store: ", fork.name, ": block ", i, " has prompt ", prompt, " of ", texts.size())));
    }
    if (!numbers.emplace(prompt, numbers.size()).second) continue;
    if (i == 0) {
      spec.prompt = texts[prompt];
    } else {
      spec.prompt_changes.push_back({texts[prompt], source.BlockStart(static_cast<int>(i))});
    }
  }
  shared.prompt_changes = static_cast<int>(spec.prompt_changes.size());
  for (std::vector<Recorded>& block : shared.blocks) {
    const int number = numbers.at(ChunkOf(block).prompt);
    std::erase_if(block, [&numbers](const Recorded& each) {
      const auto* changed = std::get_if<PromptChanged>(&each.event.body);
      return changed != nullptr && !numbers.contains(changed->prompt);
    });
    for (Recorded& each : block) {
      if (auto* changed = std::get_if<PromptChanged>(&each.event.body); changed != nullptr) {
        changed->prompt = numbers.at(changed->prompt);
        continue;
      }
      Chunk& chunk = std::get<Chunk>(each.event.body);
      chunk.prompt = number;
      if (chunk.report.has_value()) chunk.report->prompt = number;
    }
  }

  spec.prompt_changes.push_back({fork.prompt, source.BlockStart(fork.from_block)});
  spec.prompt_changes.insert(spec.prompt_changes.end(), fork.prompt_changes.begin(), fork.prompt_changes.end());
  return spec;
}

absl::Status CheckShared(const SharedBlocks& shared, const VideoPlan& plan, const ModelInfo& model) {
  const size_t count = shared.blocks.size();
  if (count > plan.block_latents.size() ||
      !std::equal(shared.latents.begin(), shared.latents.begin() + static_cast<int64_t>(count),
                  plan.block_latents.begin())) {
    return InvalidRequest({{"duration", "blocks before from_block would have other lengths"}});
  }
  const BlockForm full = BlockForms(model, plan).front();
  const bool lower =
      std::any_of(shared.blocks.begin(), shared.blocks.end(), [&full](const std::vector<Recorded>& block) {
        return BlockForm{ChunkOf(block).denoise_steps, ChunkOf(block).decoder} != full;
      });
  if (lower && plan.options.fidelity != Fidelity::kAdaptive) {
    return InvalidRequest({{"delivery_options.fidelity",
                            "blocks before from_block were made with fewer steps or by the tiny decoder, as only those "
                            "of an adaptive video may be"}});
  }
  return absl::OkStatus();
}

absl::Status RenameFields(const absl::Status& error, int shared_changes) {
  ErrorDetails details = DetailsOf(error);
  if (details.reason != Reason::kInvalidRequest) return error;
  for (FieldError& each : details.fields) {
    absl::string_view field = each.field;
    if (!absl::ConsumePrefix(&field, "spec.")) continue;
    absl::string_view rest = field;
    int number = 0;
    const bool of_change =
        absl::ConsumePrefix(&rest, "prompt_changes[") && absl::SimpleAtoi(rest.substr(0, rest.find(']')), &number);
    if (!of_change) {
      each.field = std::string(field);
    } else if (number > shared_changes) {
      each.field = absl::StrCat("prompt_changes[", number - shared_changes - 1, field.substr(field.find(']')));
    } else if (number == shared_changes) {
      each.field = absl::EndsWith(field, ".prompt") ? "prompt" : "from_block";
    } else {
      each.field = "duration";  // the shared changes fit the other video's
    }
  }
  return InvalidRequest(std::move(details.fields));
}

}  // namespace longtake::server
