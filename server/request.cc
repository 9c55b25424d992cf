#include "server/request.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace longtake::server {
namespace {

constexpr size_t kMaxTenantBytes = 64;
constexpr int kMaxPriority = 100;

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
    return std::move(result_);
  }

 private:
  void Refuse(const char* field, std::string description) { result_.errors.push_back({field, std::move(description)}); }

  void Model() {
    if (!request_.model().empty() && request_.model() != model_.name) {
      Refuse("model", absl::StrCat("this server has the model \"", model_.name, "\" only"));
    }
  }

  void Text() {
    const auto too_long = [this](const std::string& text) {
      return absl::StrCat(text.size(), " bytes, above the limit of ", max_prompt_bytes_);
    };
    if (absl::StripAsciiWhitespace(request_.prompt()).empty()) {
      if (purpose_ == Purpose::kGenerate) Refuse("prompt", "empty");
    } else if (static_cast<int64_t>(request_.prompt().size()) > max_prompt_bytes_) {
      Refuse("prompt", too_long(request_.prompt()));
    }
    if (!request_.negative_prompt().empty() && !model_.accepts_negative_prompt) {
      Refuse("negative_prompt", "this model takes none: it samples without guidance");
    } else if (static_cast<int64_t>(request_.negative_prompt().size()) > max_prompt_bytes_) {
      Refuse("negative_prompt", too_long(request_.negative_prompt()));
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

}  // namespace

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
