#include "scheduler/session.h"

#include <algorithm>
#include <utility>

namespace longtake::scheduler {
namespace {

// Of what a block is predicted to take: how much less time than that a level may have.
constexpr double kLevelMargin = 1.25;

}  // namespace

Session::Session(Request request) : request_(std::move(request)) {
  steps_ = request_.denoise_steps;
  prompt_at_[0] = 0;
  for (size_t i = 0; i < request_.prompt_blocks.size(); ++i) {
    prompt_at_[request_.prompt_blocks[i]] = static_cast<int>(i) + 1;
  }
  passes_ = static_cast<int>(prompt_at_.size());
  video_seconds_.push_back(0);
  for (int block = 0; block < blocks(); ++block) {
    passes_ += BlockPasses(block);
    most_latents_ = std::max(most_latents_, request_.block_latents[block]);
    video_seconds_.push_back(video_seconds_.back() +
                             (request_.block_seconds.empty() ? 0 : request_.block_seconds[block]));
  }
}

double Session::Tokens(PassKind kind) const {
  switch (kind) {
    case PassKind::kEncodePrompt:
      return 0;
    case PassKind::kDenoise:
    case PassKind::kCommit:
      return request_.block_latents[committed_blocks_] * request_.latent_tokens;
    case PassKind::kDecode:
      return decoded_blocks_ == 0 && decoded_latents_ == 0 ? request_.first_decode * request_.latent_tokens
                                                           : request_.latent_tokens;
  }
  return 0;
}

double Session::LongestPass(const CostModel& cost) const {
  const double decode = cost.Alone(PassKind::kDecode, request_.latent_tokens);
  if (committed_blocks_ == blocks()) return decode;
  return std::max(decode, cost.Alone(PassKind::kDenoise, most_latents_ * request_.latent_tokens));
}

double Session::BlockSeconds(const CostModel& cost, int block, int steps) const {
  const int latents = request_.block_latents[block];
  const double tokens = latents * request_.latent_tokens;
  const double first_decode = (block == 0 ? request_.first_decode : 1) * request_.latent_tokens;
  return steps * cost.Alone(PassKind::kDenoise, tokens) + cost.Alone(PassKind::kCommit, tokens) +
         cost.Alone(PassKind::kDecode, first_decode) +
         (latents - 1) * cost.Alone(PassKind::kDecode, request_.latent_tokens);
}

double Session::NextBlockSeconds(const CostModel& cost, int steps) const {
  return BlockSeconds(cost, committed_blocks_, steps) + cost.Marginal(PassKind::kCommit, RecommitTokens());
}

Session::Remaining Session::ToNextChunk(const CostModel& cost, int company) const {
  Remaining left;
  if (done()) return left;
  const auto add = [&](int passes, PassKind kind, double tokens) {
    left.passes += passes;
    left.seconds += passes * cost.InCompany(kind, tokens, company);
  };
  const int block = decoded_blocks_;
  add(1, PassKind::kDecode, Tokens(PassKind::kDecode));
  add(request_.block_latents[block] - decoded_latents_ - 1, PassKind::kDecode, request_.latent_tokens);
  if (committed_blocks_ > block) return left;
  const double tokens = request_.block_latents[block] * request_.latent_tokens;
  add(steps_ - step_, PassKind::kDenoise, tokens);
  add(1, PassKind::kCommit, tokens);
  if (PromptDue()) add(1, PassKind::kEncodePrompt, 0);
  if (const double again = RecommitTokens(); again > 0) left.seconds += cost.Marginal(PassKind::kCommit, again);
  return left;
}

double Session::RecommitTokens() const {
  if (committed_blocks_ == 0 || committed_blocks_ == blocks() || !(recommits_ || PromptDue())) return 0;
  return request_.block_latents[committed_blocks_ - 1] * request_.latent_tokens;
}

absl::StatusOr<int> Session::ChangePrompt(int block, int prompt) {
  block = std::max(block, committed_blocks_ + (step_ > 0 || transformer_busy_ ? 1 : 0));
  if (block >= blocks()) return absl::FailedPreconditionError("the video has no block left to begin");
  if (!prompt_at_.contains(block)) ++passes_;
  prompt_at_[block] = prompt;
  return block;
}

// The most steps with which the block's chunk is predicted to be in time, if the device is shared as it was for the
// last blocks.
int Session::ChooseLevel(absl::Duration now, const CostModel& cost) const {
  const int levels = static_cast<int>(request_.step_ladder.size());
  if (levels == 0 || !live() || !cost.learned()) return 0;
  const int block = committed_blocks_;
  // A first chunk is in time while its quote is kept, which has a margin of its own: another one on top, and any delay
  // would cost it steps on an idle device.
  const double margin = block == 0 ? 1 : kLevelMargin;
  double time = VideoSeconds(block);  // where the first chunk is still being decoded: it plays from then on
  if (started()) time += absl::ToDoubleSeconds(*play_start_ - delivery_ - now);
  if (block == 0) time = absl::ToDoubleSeconds(first_quoted - now);
  // The block that is still being decoded has taken so much longer at least.
  double stretch = stretch_;
  if (!making_.empty()) stretch = std::max(stretch, making_.front().Stretch(now));
  for (int level = 0; level < levels; ++level) {
    if (NextBlockSeconds(cost, StepsAt(level)) * stretch * margin <= time) return level;
  }
  return levels - 1;
}

double Session::SecondsLeft(const CostModel& cost) const {
  double seconds = ToNextChunk(cost).seconds;
  const int blocks_left = blocks() - decoded_blocks_ - 1;
  if (blocks_left > 0) seconds += blocks_left * BlockSeconds(cost, blocks() - 1, request_.denoise_steps);
  return seconds;
}

double Session::NeededLoad(const CostModel& cost, int company) const {
  if (!live() || video_seconds() <= 0 || committed_blocks_ == blocks()) return 0;
  // Over the whole video, so that a last short block does not count for the others.
  const double tokens = most_latents_ * request_.latent_tokens;
  // Where the steps may be fewer, that is what the load can be brought down to.
  const double block = LowestSteps() * cost.InCompany(PassKind::kDenoise, tokens, company) +
                       cost.InCompany(PassKind::kCommit, tokens, company) +
                       most_latents_ * cost.InCompany(PassKind::kDecode, request_.latent_tokens, company);
  return block * blocks() / video_seconds();
}

Demand Session::NeededBy(absl::Duration now, const CostModel& cost, int company) const {
  if (done()) return {};
  return {.at = absl::ToDoubleSeconds(Due() - now),
          .work = ToNextChunk(cost, company).seconds,
          .rate = NeededLoad(cost, company),
          .length = video_seconds() - VideoSeconds(decoded_blocks_ + 1)};
}

void Session::ChunkDelivered(absl::Duration now) {
  if (decoded_at_.empty()) return;
  const absl::Duration took = now - std::max(decoded_at_.front(), last_delivery_);
  decoded_at_.pop_front();
  last_delivery_ = now;
  const int chunk = delivered_++;
  delivery_ = std::max(delivery_, std::min(took, absl::Seconds(VideoSeconds(chunk + 1) - VideoSeconds(chunk))));
  if (!play_start_.has_value()) play_start_ = now;
  // The picture stood still until now, and what follows is needed so much later.
  play_start_ = std::max(*play_start_, now - absl::Seconds(VideoSeconds(chunk)));
}

double Session::LeadSeconds(absl::Duration now) const {
  const double played = started() ? absl::ToDoubleSeconds(now - *play_start_) : 0;
  return VideoSeconds(committed_blocks_) - played;
}

void Session::UpdateLead(absl::Duration now, const Options& options) {
  if (!live() || committed_blocks_ == blocks()) {
    ahead_ = held_ = false;
    return;
  }
  const absl::Duration lead = absl::Seconds(LeadSeconds(now));
  // A block is never left half denoised: the lead only grows by commits.
  if (!ahead_ && step_ == 0 && lead >= options.lead_high) ahead_ = true;
  if (ahead_ && lead <= options.lead_low) ahead_ = false;
  held_ = step_ == 0 && committed_blocks_ > 0 && lead >= std::min(request_.max_lead, options.max_lead);
}

std::optional<PassKind> Session::Next(Lane lane, const Options& options) const {
  if (state != State::kRunning || end_why.has_value()) return std::nullopt;
  const bool undecoded = decoded_blocks_ < committed_blocks_;
  if (lane == Lane::kDecoder) {
    if (decoder_busy_ || !undecoded) return std::nullopt;
    return PassKind::kDecode;
  }
  if (transformer_busy_) return std::nullopt;
  if (committed_blocks_ == blocks() || Parked(options) || held_) return std::nullopt;
  // A chunk's decoding goes before the next block's denoising, so that the chunk leaves before that denoising ends.
  // Where the lanes overlap it need not wait, except that a commit needs the latents before it decoded.
  if (undecoded && (!options.lanes_overlap || step_ == steps_)) return std::nullopt;
  if (step_ == 0 && PromptDue()) return PassKind::kEncodePrompt;
  return step_ < steps_ ? PassKind::kDenoise : PassKind::kCommit;
}

Pass Session::Start(PassKind kind, absl::Duration now, const CostModel& cost) {
  busy(kind) = true;
  Pass pass{.kind = kind, .session = request_.id};
  if (kind == PassKind::kEncodePrompt) pass.prompt = prompt_at_.begin()->second;
  if (kind == PassKind::kDenoise) {
    if (step_ == 0) {
      level_ = ChooseLevel(now, cost);
      steps_ = StepsAt(level_);
      passes_ -= StepsAt(0) - steps_;
      // Before the costs are known a block would seem to have been held up many times over.
      making_.push_back({now, cost.learned() ? NextBlockSeconds(cost, steps_) : 0});
    }
    pass.level = level_;
  }
  return pass;
}

PassReport Session::Finish(PassKind kind, absl::Duration now) {
  busy(kind) = false;
  ++passes_done_;
  PassReport report;
  report.kind = kind;
  report.passes_done = passes_done_;
  report.passes = passes_;
  report.block = committed_blocks_;
  report.step = report.steps = 1;
  switch (kind) {
    case PassKind::kEncodePrompt:
      report.prompt = prompt_at_.begin()->second;
      prompt_at_.erase(prompt_at_.begin());
      recommits_ = committed_blocks_ > 0;
      break;
    case PassKind::kDenoise:
      report.step = ++step_;
      report.steps = steps_;
      recommits_ = false;
      break;
    case PassKind::kCommit:
      ++committed_blocks_;
      step_ = level_ = 0;
      steps_ = request_.denoise_steps;
      break;
    case PassKind::kDecode:
      report.block = decoded_blocks_;
      report.step = ++decoded_latents_;
      report.steps = request_.block_latents[decoded_blocks_];
      if (decoded_latents_ == report.steps) {
        ++decoded_blocks_;
        decoded_at_.push_back(now);
        decoded_latents_ = 0;
        stretch_ += 0.5 * (std::max(1.0, making_.front().Stretch(now)) - stretch_);
        making_.pop_front();
      }
      break;
  }
  return report;
}

}  // namespace longtake::scheduler
