#include "server/request.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace longtake::server {
namespace {

constexpr size_t kMaxTenantBytes = 64;
constexpr int kMaxPriority = 100;
constexpr int kMostChanges = 64;

std::string TooLong(const std::string& text, int max_bytes) {
  return absl::StrCat(text.size(), " bytes, above the limit of ", max_bytes);
}

class Checker {
 public:
  Checker(const v1::GenerateRequest& request, Purpose purpose, const ModelInfo& model, int max_prompt_bytes)
      : request_(request), purpose_(purpose), model_(model), max_prompt_bytes_(max_prompt_bytes) {}

  CheckedRequest Check() {
    Model();
    Text();
    PictureSize();
    Length();
    Rest();
    Service();
    if (request_.then_size() > 0) Texts();
    return std::move(result_);
  }

 private:
  void Refuse(std::string field, std::string description) {
    result_.errors.push_back({std::move(field), std::move(description)});
  }
  void Prompt(const std::string& field, const std::string& prompt) {
    for (FieldError& error : CheckPrompt(field, prompt, max_prompt_bytes_)) result_.errors.push_back(std::move(error));
  }

  void Model() {
    if (!request_.model().empty() && request_.model() != model_.name) {
      Refuse("model", absl::StrCat("this server has the model \"", model_.name, "\" only"));
    }
  }

  void Text() {
    if (purpose_ == Purpose::kGenerate || !request_.prompt().empty()) Prompt("prompt", request_.prompt());
    if (!request_.negative_prompt().empty() && !model_.accepts_negative_prompt) {
      Refuse("negative_prompt", "this model takes none: it samples without guidance");
    } else if (static_cast<int64_t>(request_.negative_prompt().size()) > max_prompt_bytes_) {
      Refuse("negative_prompt", TooLong(request_.negative_prompt(), max_prompt_bytes_));
    }
    result_.plan.prompt = request_.prompt();
    result_.plan.negative_prompt = request_.negative_prompt();
  }

  void PictureSize() {
    Size& size = result_.plan.spec.size;
    size = model_.sizes.front();
    if (!request_.has_size()) return;
    size = {request_.size().width(), request_.size().height()};
    for (const Size& offered : model_.sizes) {
      if (offered == size) return;
    }
    Refuse("size", absl::StrCat(size.width, "x", size.height, " is not offered; the sizes are ",
                                absl::StrJoin(model_.sizes, ", ", [](std::string* out, const Size& offered) {
                                  absl::StrAppend(out, offered.width, "x", offered.height);
                                })));
  }

  void Length() {
    const double seconds = request_.seconds();
    const double longest = static_cast<double>(FramesOf(model_, model_.max_latent_frames)) / model_.fps;
    if (!(seconds > 0)) {  // also when it is no number
      Refuse("seconds", absl::StrCat(seconds, " is not above 0"));
      return;
    }
    // 1 + stride * (latents - 1) frames are nearest to what was asked; half of a latent frame too long is still the
    // longest.
    const double latents = 1 + std::round((seconds * model_.fps - 1) / model_.frames_per_latent);
    if (latents > model_.max_latent_frames) {
      Refuse("seconds", absl::StrCat(seconds, " is above the model's longest video, ", longest));
      return;
    }
    result_.plan.spec.latent_frames = std::max(1, static_cast<int>(latents));
  }

  void Rest() {
    if (!request_.first_image().empty() && !model_.accepts_first_image) {
      Refuse("first_image", "this model makes videos from text alone");
    }
    switch (request_.delivery()) {
      case v1::DELIVERY_UNSPECIFIED:
      case v1::DELIVERY_LIVE:
        result_.plan.delivery = scheduler::Delivery::kLive;
        break;
      case v1::DELIVERY_OFFLINE:
        result_.plan.delivery = scheduler::Delivery::kOffline;
        break;
      default:
        Refuse("delivery", absl::StrCat("unknown value ", static_cast<int>(request_.delivery())));
    }
  }

  // The story's texts; where they fall is seen when the blocks are known.
  void Texts() {
    if (!model_.switches_prompt) return Refuse("then", "this model keeps its prompt");
    if (request_.then_size() > kMostChanges) {
      return Refuse("then", absl::StrCat(request_.then_size(), " changes, above the limit of ", kMostChanges));
    }
    for (int i = 0; i < request_.then_size(); ++i) {
      Prompt(absl::StrCat("then[", i, "].prompt"), request_.then(i).prompt());
    }
  }

  // For whom, how soon, how well.
  void Service() {
    VideoPlan& plan = result_.plan;
    plan.tenant = request_.tenant();
    const auto allowed = [](char c) { return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-'; };
    if (plan.tenant.size() > kMaxTenantBytes || !std::all_of(plan.tenant.begin(), plan.tenant.end(), allowed)) {
      Refuse("tenant", absl::StrCat("must be at most ", kMaxTenantBytes, " of a-z, A-Z, 0-9, '.', '_' and '-'"));
    }
    plan.priority = request_.priority();
    if (std::abs(static_cast<int64_t>(plan.priority)) > kMaxPriority) {
      Refuse("priority", absl::StrCat(plan.priority, " is not within -", kMaxPriority, " ... ", kMaxPriority));
    }
    if (request_.has_max_wait_seconds()) {
      plan.max_wait = absl::Seconds(request_.max_wait_seconds());
      if (!(request_.max_wait_seconds() > 0)) {
        Refuse("max_wait_seconds", absl::StrCat(request_.max_wait_seconds(), " is not above 0"));
      }
    }
    if (request_.has_max_lead_seconds()) {
      plan.max_lead = absl::Seconds(request_.max_lead_seconds());
      if (!(request_.max_lead_seconds() > 0)) {
        Refuse("max_lead_seconds", absl::StrCat(request_.max_lead_seconds(), " is not above 0"));
      }
    }
    if (request_.fidelity() != v1::FIDELITY_UNSPECIFIED && request_.fidelity() != v1::FIDELITY_FULL &&
        request_.fidelity() != v1::FIDELITY_ADAPTIVE) {
      Refuse("fidelity", absl::StrCat("unknown value ", static_cast<int>(request_.fidelity())));
    }
    plan.adaptive = request_.fidelity() == v1::FIDELITY_ADAPTIVE;
  }

  const v1::GenerateRequest& request_;
  const Purpose purpose_;
  const ModelInfo& model_;
  const int max_prompt_bytes_;
  CheckedRequest result_;
};

// Where the story's prompts fall.
std::vector<FieldError> PlaceStory(const v1::GenerateRequest& request, double fps, VideoPlan& plan) {
  std::vector<FieldError> errors;
  const int blocks = static_cast<int>(plan.block_frames.size());
  for (int i = 0; i < request.then_size(); ++i) {
    const double at = request.then(i).at_seconds();
    const int block = at > 0 ? BlockAt(plan, fps, at) : 0;
    const std::string field = absl::StrCat("then[", i, "].at_seconds");
    if (block == 0) {
      errors.push_back({field, absl::StrCat(at, " is not above 0")});
    } else if (block == blocks) {
      errors.push_back({field, absl::StrCat("no block begins at or after ", at, "; the last begins at ",
                                            BlockSeconds(plan, fps, blocks - 1))});
    } else if (!plan.story_blocks.empty() && block <= plan.story_blocks.back()) {
      errors.push_back({field, absl::StrCat("falls to the block at ", BlockSeconds(plan, fps, block),
                                            ", which is not after the change before it")});
    } else {
      plan.story_blocks.push_back(block);
      plan.story.push_back(request.then(i).prompt());
    }
  }
  return errors;
}

}  // namespace

std::vector<FieldError> CheckPrompt(const std::string& field, const std::string& prompt, int max_prompt_bytes) {
  if (absl::StripAsciiWhitespace(prompt).empty()) return {{field, "empty"}};
  if (static_cast<int64_t>(prompt.size()) > max_prompt_bytes) return {{field, TooLong(prompt, max_prompt_bytes)}};
  return {};
}

double BlockSeconds(const VideoPlan& plan, double fps, int block) {
  return std::accumulate(plan.block_frames.begin(), plan.block_frames.begin() + block, 0) / fps;
}

int BlockAt(const VideoPlan& plan, double fps, double seconds) {
  constexpr double kRounding = 1e-6;  // of a time that was computed from frames
  int block = 0;
  const int blocks = static_cast<int>(plan.block_frames.size());
  while (block < blocks && !(BlockSeconds(plan, fps, block) >= seconds - kRounding)) ++block;
  return block;
}

int64_t FramesOf(const ModelInfo& model, int latent_frames) {
  return 1 + static_cast<int64_t>(model.frames_per_latent) * (latent_frames - 1);
}

CheckedRequest CheckRequest(const v1::GenerateRequest& request, Purpose purpose, const Engine& engine,
                            int max_prompt_bytes, uint64_t fresh_seed) {
  const ModelInfo& model = engine.model();
  CheckedRequest checked = Checker(request, purpose, model, max_prompt_bytes).Check();
  if (!checked.errors.empty()) return checked;
  VideoPlan& plan = checked.plan;
  plan.spec.seed = request.has_seed() ? request.seed() : fresh_seed;
  plan.frames = FramesOf(model, plan.spec.latent_frames);
  plan.seconds = static_cast<double>(plan.frames) / model.fps;
  plan.block_latents = engine.BlockLengths(plan.spec.latent_frames);
  for (size_t block = 0; block < plan.block_latents.size(); ++block) {
    const int latents = plan.block_latents[block];
    plan.block_frames.push_back(block == 0 ? static_cast<int>(FramesOf(model, latents))
                                           : model.frames_per_latent * latents);
  }
  checked.errors = PlaceStory(request, model.fps, plan);
  return checked;
}

v1::Model Describe(const ModelInfo& model, int max_prompt_bytes) {
  v1::Model out;
  out.set_name(model.name);
  for (const Size& size : model.sizes) {
    v1::Size* each = out.add_sizes();
    each->set_width(size.width);
    each->set_height(size.height);
  }
  out.set_frames_per_second(model.fps);
  out.set_max_seconds(static_cast<double>(FramesOf(model, model.max_latent_frames)) / model.fps);
  out.set_block_seconds(model.block_latent_frames * model.frames_per_latent / model.fps);
  out.set_denoise_steps(model.denoise_steps);
  out.set_sampler(model.sampler);
  out.set_numerics_id(model.numerics_id);
  out.set_max_prompt_bytes(max_prompt_bytes);
  out.set_accepts_first_image(model.accepts_first_image);
  out.set_accepts_negative_prompt(model.accepts_negative_prompt);
  out.set_switches_prompt(model.switches_prompt);
  for (int steps : model.step_ladder) out.add_step_ladder(steps);
  return out;
}

v1::Quote Describe(const scheduler::Quote& quote) {
  v1::Quote out;
  out.set_admitted(quote.status.ok());
  if (quote.first_chunk < absl::InfiniteDuration()) {
    out.set_first_chunk_seconds(absl::ToDoubleSeconds(quote.first_chunk));
    out.set_last_chunk_seconds(absl::ToDoubleSeconds(quote.last_chunk));
    out.set_start_seconds(absl::ToDoubleSeconds(quote.start));
  }
  out.set_confidence(quote.confidence);
  out.set_queue_length(quote.waiting);
  if (!quote.status.ok()) out.set_retry_after_seconds(absl::ToDoubleSeconds(quote.retry_after));
  return out;
}

}  // namespace longtake::server
