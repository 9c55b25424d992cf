#include "scheduler/session.h"

#include <algorithm>
#include <utility>

namespace longtake::scheduler {
namespace {

// Positions of one frame, counted in frames by one side and in latent frames by the other, differ by rounding.
constexpr absl::Duration kSamePosition = absl::Milliseconds(1);

}  // namespace

Session::Session(Request request) : request_(std::move(request)), levels_(request_.block_latents.size(), 0) {
  steps_ = rung(0).steps;
  prompt_at_[0] = 0;
  for (int block : request_.prompt_blocks) prompt_at_[block] = prompts_++;
  const int made = committed_blocks_ = decoded_blocks_ = delivered_blocks_ = request_.made_blocks;
  std::erase_if(prompt_at_, [made](const auto& each) { return each.first < made; });
  passes_ = static_cast<int>(prompt_at_.size());
  first_latent_.push_back(0);
  for (int block = 0; block < blocks(); ++block) {
    if (block >= made) passes_ += rung(0).steps + 1 + latents(block);
    first_latent_.push_back(first_latent_.back() + latents(block));
  }
  begins_ = StartOf(made);
}

absl::Duration Session::StartOf(int block, int latent) const {
  const int before = first_latent_[block] + latent;
  if (before == 0) return absl::ZeroDuration();
  return absl::Seconds(request_.first_latent_seconds + (before - 1) * request_.latent_seconds);
}

int Session::ChunkLatents(int block) const {
  return request_.chunk_latents == 0 ? latents(block) : std::min(latents(block), request_.chunk_latents);
}

int Session::ChunkEnd() const {
  const int chunk = ChunkLatents(decoded_blocks_);
  return std::min(latents(decoded_blocks_), (decoded_latents_ / chunk + 1) * chunk);
}

absl::Duration Session::ChunkStart() const {
  if (done()) return Length();
  const int chunk = ChunkLatents(decoded_blocks_);
  return StartOf(decoded_blocks_, decoded_latents_ / chunk * chunk);
}

double Session::Tokens(PassKind kind) const {
  switch (kind) {
    case PassKind::kEncodePrompt:
      return 0;
    case PassKind::kDenoise:
    case PassKind::kCommit:
      return block_tokens(committed_blocks_);
    case PassKind::kDecode: {
      const int level = levels_[decoded_blocks_];
      if (decoded_latents_ > 0) return decode_tokens(level);
      return (decoded_blocks_ == 0 ? rung(level).first_decode : 1) * decode_tokens(level) +
             RebuildTokens(decoded_blocks_, level);
    }
    case PassKind::kSave:
    case PassKind::kRestore:
      break;  // are not planned
  }
  return 0;
}

double Session::RebuildTokens(int block, int level) const {
  if (block == 0) return 0;
  const int before = block == decoded_blocks_ ? caches_level_ : levels_[block - 1];
  if (rung(before).decode_cost == rung(level).decode_cost) return 0;
  return std::min(rung(level).rebuild_latents, first_latent_[block]) * decode_tokens(level);
}

double Session::RecommitTokens() const {
  if (committed_blocks_ == 0 || committed_blocks_ == blocks() || !(recommits_ || PromptDue())) return 0;
  return block_tokens(committed_blocks_ - 1);
}

std::optional<PassKind> Session::Next(LaneRole role, const Options& options) const {
  if (state != State::kRunning || end_why.has_value()) return std::nullopt;
  const bool undecoded = decoded_blocks_ < committed_blocks_;
  if (role != LaneRole::kTransformer && undecoded && !decoder_busy_) return PassKind::kDecode;
  if (role == LaneRole::kDecoder || transformer_busy_) return std::nullopt;
  if (committed_blocks_ == blocks() || Parked(options) || held_ || (yields && step_ == 0)) return std::nullopt;
  // A chunk's decoding goes before the next block's denoising, so that the chunk leaves before that denoising ends.
  // Where lanes overlap it need not wait, except that a commit needs the latents before it decoded.
  if (undecoded && (role == LaneRole::kAll || step_ == steps_)) return std::nullopt;
  if (step_ == 0 && PromptDue()) return PassKind::kEncodePrompt;
  return step_ < steps_ ? PassKind::kDenoise : PassKind::kCommit;
}

std::optional<PassKind> Session::After(LaneRole role) const {
  if (end_why.has_value()) return std::nullopt;
  if (role != LaneRole::kTransformer && decoder_busy_) {
    if (decoded_latents_ + 1 < latents(decoded_blocks_)) return PassKind::kDecode;
    return role == LaneRole::kAll && committed_blocks_ < blocks() ? std::optional(PassKind::kDenoise) : std::nullopt;
  }
  if (role == LaneRole::kDecoder || !transformer_busy_) return std::nullopt;
  if (step_ == 0 && PromptDue()) return PassKind::kDenoise;
  if (step_ < steps_) return step_ + 1 < steps_ ? PassKind::kDenoise : PassKind::kCommit;
  if (role == LaneRole::kAll) return PassKind::kDecode;
  return committed_blocks_ + 1 < blocks() ? std::optional(PassKind::kDenoise) : std::nullopt;
}

Pass Session::Start(PassKind kind, absl::Duration now, const Costs& costs, double margin, Pressure pressure) {
  busy(kind) = true;
  passed_over_since(kind).reset();
  Pass pass{.kind = kind, .session = request_.id};
  if (kind == PassKind::kEncodePrompt) pass.prompt = prompt_at_.begin()->second;
  if (kind == PassKind::kDenoise) {
    if (step_ == 0) {
      const int level = levels_[committed_blocks_] = ChooseLevel(now, costs, margin, pressure);
      steps_ = rung(level).steps;
      passes_ -= rung(0).steps - steps_;
      // Before the costs are known a block would seem to have taken many times longer than expected.
      making_.push_back({now, costs.learned() ? NextBlock(costs, level) : 0, Stretch(now)});
    }
    pass.level = levels_[committed_blocks_];
  }
  if (kind == PassKind::kDecode) pass.level = levels_[decoded_blocks_];
  return pass;
}

Session::Finished Session::Finish(PassKind kind, absl::Duration now) {
  busy(kind) = false;
  ++passes_done_;
  Finished out;
  PassReport& report = out.report;
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
      prompt_fresh_ = true;
      break;
    case PassKind::kDenoise:
      report.step = ++step_;
      report.steps = steps_;
      report.level = levels_[committed_blocks_];
      recommits_ = prompt_fresh_ = false;
      break;
    case PassKind::kCommit:
      ++committed_blocks_;
      step_ = 0;
      steps_ = rung(0).steps;
      break;
    case PassKind::kDecode: {
      const int chunk_end = ChunkEnd();
      report.block = decoded_blocks_;
      report.step = ++decoded_latents_;
      report.steps = latents(decoded_blocks_);
      report.level = caches_level_ = levels_[decoded_blocks_];
      if (decoded_latents_ == chunk_end) {
        undelivered_.push_back({StartOf(decoded_blocks_, decoded_latents_), now});
        out.first_chunk_done = !first_chunk_at_.has_value();
        if (out.first_chunk_done) first_chunk_at_ = now;
      }
      if (decoded_latents_ == report.steps) {
        ++decoded_blocks_;
        decoded_latents_ = 0;
        const Making& made = making_.front();
        out.block_done = true;
        out.block_error = made.Stretch(now) / made.stretch;
        stretch_ += 0.5 * (std::max(1.0, made.Stretch(now)) - stretch_);
        making_.pop_front();
      }
      break;
    }
    case PassKind::kSave:
    case PassKind::kRestore:
      break;  // are not planned
  }
  return out;
}

absl::StatusOr<int> Session::ChangePrompt(int block, int prompt) {
  const bool begun = step_ > 0 || transformer_busy_ || prompt_fresh_;
  block = std::max(block, committed_blocks_ + (begun ? 1 : 0));
  block = std::max(block, static_cast<int>(request_.made_levels.size()));  // those before were shown
  if (block >= blocks()) return absl::FailedPreconditionError("the video has no block left to begin");
  if (!prompt_at_.contains(block)) ++passes_;
  prompt_at_[block] = prompt;
  prompts_ = std::max(prompts_, prompt + 1);
  return block;
}

void Session::Delivered(absl::Duration now, absl::Duration until) {
  std::optional<absl::Duration> decoded;
  while (!undelivered_.empty() && undelivered_.front().until <= until + kSamePosition) {
    decoded = undelivered_.front().decoded;
    undelivered_.pop_front();
  }
  if (!decoded.has_value()) return;
  const int block = std::min(delivered_blocks_, blocks() - 1);
  const absl::Duration took = now - std::max(*decoded, last_delivery_);
  deliveries_.Add(absl::ToDoubleSeconds(std::min(took, StartOf(block + 1) - StartOf(block))));
  last_delivery_ = now;
  while (delivered_blocks_ < decoded_blocks_ && StartOf(delivered_blocks_ + 1) <= until + kSamePosition) {
    ++delivered_blocks_;
  }
  playout_.Arrive(now, until - begins_, until + kSamePosition >= StartOf(request_.made_blocks + 1));
}

absl::Duration Session::Delivery() const {
  return deliveries_.size() == 0 ? absl::ZeroDuration() : absl::Seconds(deliveries_.At(tuning::kSafeQuantile));
}

absl::Duration Session::DueAt(absl::Duration position) const {
  position -= begins_;
  if (playout_.moves()) return playout_.ReachedAt(position) - Delivery();
  // The first block is on its way: playback will begin a delivery from now, and the rest is needed a delivery earlier.
  if (first_chunk_at_.has_value()) return *first_chunk_at_ + position;
  return first_due + position;
}

absl::Duration Session::HoldsFrom(const Options& options, const Costs& costs) const {
  const absl::Duration block = StartOf(committed_blocks_ + 1) - StartOf(committed_blocks_);
  const absl::Duration least = block + absl::Seconds(NextBlock(costs, lowest()) * stretch_);
  return std::max(least, std::min(request_.max_lead, options.max_lead));
}

absl::Duration Session::AsleepAfter() const {
  const absl::Duration block = StartOf(committed_blocks_) - StartOf(committed_blocks_ - 1);
  return std::max(absl::Seconds(1), tuning::kAsleepBlocks * block);
}

void Session::Update(absl::Duration now, const Options& options, const Costs& costs) {
  if (!Parked(options)) {
    parked_since_.reset();
  } else if (!parked_since_.has_value()) {
    parked_since_ = now;
  }
  if (!live() || committed_blocks_ == blocks()) {
    ahead_ = held_ = false;
    attention = Attention::kAwake;
    return;
  }
  const absl::Duration lead = Lead(now);
  // A block is never left half denoised: the lead only grows by commits.
  if (!ahead_ && step_ == 0 && lead >= options.lead_high) ahead_ = true;
  if (ahead_ && lead <= options.lead_low) ahead_ = false;
  held_ = step_ == 0 && committed_blocks_ > 0 && lead > HoldsFrom(options, costs);
  const bool away = playout_.paused() || (unread_since().has_value() && now - *unread_since() >= AsleepAfter());
  if (away) {
    attention = Attention::kAsleep;
  } else if (attention == Attention::kAsleep && !Parked(options)) {
    attention = Attention::kWaking;
  }
}

absl::Duration Session::NextUpdate(absl::Duration now, const Options& options, const Costs& costs) const {
  absl::Duration next = absl::InfiniteDuration();
  // Where the picture stands still, for whatever reason, the lead does not shrink by time.
  if (playout_.moves() && !playout_.paused() && playout_.Position(now) < playout_.arrived()) {
    if (held_) next = now + (Lead(now) - HoldsFrom(options, costs));
    if (ahead_) next = std::min(next, now + (Lead(now) - options.lead_low));
  }
  if (unread_since().has_value()) {
    next = std::min(next, *unread_since() + options.max_unread);
    // One that is waking too: it may have parked again before there was room for it.
    if (live() && attention != Attention::kAsleep) next = std::min(next, *unread_since() + AsleepAfter());
  }
  return next;
}

}  // namespace longtake::scheduler
