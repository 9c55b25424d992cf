// What a session needs of its device, and how many steps its blocks may have.
#include <algorithm>

#include "scheduler/session.h"

namespace longtake::scheduler {

double Session::Transform(const Costs& costs, int block, int steps, int company, LaneRole role) const {
  if (role == LaneRole::kDecoder) return 0;
  return steps * costs.InCompany(PassKind::kDenoise, block_tokens(block), company) +
         costs.InCompany(PassKind::kCommit, block_tokens(block), company);
}

double Session::Decode(const Costs& costs, int block, int level, int from, int to, int company, LaneRole role) const {
  if (role == LaneRole::kTransformer || from >= to) return 0;
  double seconds = 0;
  if (block == 0 && from == 0) {
    seconds += costs.InCompany(PassKind::kDecode, rung(level).first_decode * decode_tokens(level), company);
    ++from;
  }
  return seconds + (to - from) * costs.InCompany(PassKind::kDecode, decode_tokens(level), company);
}

double Session::Rebuild(const Costs& costs, int block, int level, LaneRole role) const {
  return role == LaneRole::kTransformer ? 0 : costs.Marginal(PassKind::kDecode, RebuildTokens(block, level));
}

double Session::NextFront(const Costs& costs, int level) const {
  const int block = committed_blocks_;
  return Transform(costs, block, rung(level).steps, 1, LaneRole::kAll) +
         costs.Marginal(PassKind::kCommit, RecommitTokens()) + Rebuild(costs, block, level, LaneRole::kAll) +
         Decode(costs, block, level, 0, ChunkLatents(block), 1, LaneRole::kAll);
}

double Session::NextBlock(const Costs& costs, int level) const {
  const int block = committed_blocks_;
  return NextFront(costs, level) + Decode(costs, block, level, ChunkLatents(block), latents(block), 1, LaneRole::kAll);
}

double Session::Stretch(absl::Duration now) const {
  // The block that is still being decoded has taken so much longer at least.
  return making_.empty() ? stretch_ : std::max(stretch_, making_.front().Stretch(now));
}

// The highest rung by which the block's chunks are predicted to be in time if the device is shared as it was for the
// last blocks; a lower one under pressure.
int Session::ChooseLevel(absl::Duration now, const Costs& costs, double margin, Pressure pressure) const {
  if (committed_blocks_ < static_cast<int>(request_.made_levels.size())) {
    return request_.made_levels[committed_blocks_];
  }
  if (!live() || !costs.learned()) return 0;
  if (pressure == Pressure::kSomeWaits) return lowest();
  const int block = committed_blocks_;
  // A first chunk is in time while its quote is kept, which has a margin of its own: with another one on top, any delay
  // would cost it steps on an idle device.
  if (block == 0) margin = 1;
  const absl::Duration first = block == 0                     ? first_quoted
                               : !first_chunk_at_.has_value() ? now + StartOf(block)  // it plays from about now on
                                                              : DueAt(StartOf(block));
  const double time = absl::ToDoubleSeconds(first - now);
  const int last_chunk = (latents(block) - 1) / ChunkLatents(block) * ChunkLatents(block);
  const double more = absl::ToDoubleSeconds(StartOf(block, last_chunk) - StartOf(block));
  const double stretch = Stretch(now) * margin;
  for (int level = 0; level <= lowest(); ++level) {
    if (NextFront(costs, level) * stretch > time || NextBlock(costs, level) * stretch > time + more) continue;
    return std::min(lowest(), level + (pressure == Pressure::kCrowded ? 1 : 0));
  }
  return lowest();
}

int Session::LevelOfNext(Fidelity fidelity) const {
  const bool begun = step_ > 0 || transformer_busy_;
  return fidelity == Fidelity::kLowest && live() && !begun ? lowest() : levels_[committed_blocks_];
}

Session::Remaining Session::TransformLeft(const Costs& costs, int company, Fidelity fidelity) const {
  if (committed_blocks_ == blocks()) return {};
  const int steps = rung(LevelOfNext(fidelity)).steps - step_;
  Remaining left{.passes = steps + 1,
                 .seconds = Transform(costs, committed_blocks_, steps, company, LaneRole::kTransformer) +
                            costs.Marginal(PassKind::kCommit, RecommitTokens())};
  if (PromptDue()) {
    ++left.passes;
    left.seconds += costs.InCompany(PassKind::kEncodePrompt, 0, company);
  }
  return left;
}

Session::Remaining Session::ToNextChunk(const Costs& costs, int company, LaneRole role, Fidelity fidelity) const {
  Remaining left;
  const bool undenoised = !done() && committed_blocks_ == decoded_blocks_;
  if (role == LaneRole::kTransformer || (undenoised && role == LaneRole::kAll)) {
    left = TransformLeft(costs, company, fidelity);
  }
  if (done() || role == LaneRole::kTransformer) return left;
  const int level = undenoised ? LevelOfNext(fidelity) : levels_[decoded_blocks_];
  left.passes += ChunkEnd() - decoded_latents_;
  left.seconds += Decode(costs, decoded_blocks_, level, decoded_latents_, ChunkEnd(), company, role);
  if (decoded_latents_ == 0) left.seconds += Rebuild(costs, decoded_blocks_, level, role);
  return left;
}

absl::Duration Session::LaneDue(const Costs& costs, LaneRole role) const {
  if (role != LaneRole::kTransformer || committed_blocks_ == blocks()) return Due();
  const int block = committed_blocks_;
  return DueAt(StartOf(block)) -
         absl::Seconds(Decode(costs, block, levels_[block], 0, ChunkLatents(block), 1, LaneRole::kDecoder));
}

double Session::SecondsLeft(const Costs& costs) const {
  if (done()) return 0;
  const int typical = blocks() - 1;
  const double block = Transform(costs, typical, rung(0).steps, 1, LaneRole::kAll) +
                       Decode(costs, typical, 0, 0, latents(typical), 1, LaneRole::kAll);
  return ToNextChunk(costs).seconds +
         Decode(costs, decoded_blocks_, levels_[decoded_blocks_], ChunkEnd(), latents(decoded_blocks_), 1,
                LaneRole::kAll) +
         (blocks() - decoded_blocks_ - 1) * block;
}

double Session::LongestPass(const Costs& costs, LaneRole role) const {
  if (done()) return 0;
  const double tokens = std::max(decode_tokens(0), Tokens(PassKind::kDecode));
  const double decode = role == LaneRole::kTransformer ? 0 : costs.Alone(PassKind::kDecode, tokens);
  if (committed_blocks_ == blocks() || role == LaneRole::kDecoder) return decode;
  const int most = *std::max_element(request_.block_latents.begin() + committed_blocks_, request_.block_latents.end());
  return std::max(decode, costs.Alone(PassKind::kDenoise, most * request_.latent_tokens));
}

double Session::NeededLoad(const Costs& costs, int company, LaneRole role) const {
  if (!live() || committed_blocks_ == blocks()) return 0;
  const int typical = blocks() - 1;
  const double block = Transform(costs, typical, rung(lowest()).steps, company, role) +
                       Decode(costs, typical, lowest(), 0, latents(typical), company, role);
  return block / (latents(typical) * request_.latent_seconds);
}

namespace {

Demand::Slope Evenly(double work, absl::Duration length) {
  if (length <= absl::ZeroDuration()) return {};
  return {work / absl::ToDoubleSeconds(length), absl::ToDoubleSeconds(length)};
}

}  // namespace

// While a block plays, the next one is denoised.
Demand Session::TransformerNeeds(absl::Duration now, const Costs& costs, int company) const {
  const int block = committed_blocks_, last = blocks() - 1;
  if (block > last) return {};
  Demand demand{.at = absl::ToDoubleSeconds(LaneDue(costs, LaneRole::kTransformer) - now),
                .work = TransformLeft(costs, company, Fidelity::kFull).seconds};
  const double typical = Transform(costs, last, rung(lowest()).steps, company, LaneRole::kTransformer);
  demand.slopes[0] = Evenly((last - block) * typical, StartOf(last) - StartOf(block));
  demand.slopes[1] = Evenly(0, Length() - StartOf(last));
  return demand;
}

Demand Session::NeededBy(absl::Duration now, const Costs& costs, int company, LaneRole role) const {
  if (done()) return {};
  if (role == LaneRole::kTransformer) return TransformerNeeds(now, costs, company);
  const int block = decoded_blocks_, last = blocks() - 1;
  const absl::Duration start = ChunkStart();
  Demand demand{.at = absl::ToDoubleSeconds(DueAt(start) - now), .work = ToNextChunk(costs, company, role).seconds};
  const auto front = [&](int of) {
    return Transform(costs, of, rung(lowest()).steps, company, role) +
           Decode(costs, of, lowest(), 0, ChunkLatents(of), company, role);
  };
  const auto rest = [&](int of, int level, int from) {
    return Decode(costs, of, level, from, latents(of), company, role);
  };
  // While the rest of the block plays: the rest itself, and the next block up to its first chunk.
  demand.slopes[0] = Evenly(rest(block, levels_[block], ChunkEnd()) + (block < last ? front(block + 1) : 0),
                            StartOf(block + 1) - start);
  if (block == last) return demand;
  // While whole blocks play: as many of the typical kind, each a block's rest and the next one's front.
  demand.slopes[1] = Evenly((last - block - 1) * (front(last) + rest(last, lowest(), ChunkLatents(last))),
                            StartOf(last) - StartOf(block + 1));
  demand.slopes[2] = Evenly(rest(last, lowest(), ChunkLatents(last)), Length() - StartOf(last));
  return demand;
}

}  // namespace longtake::scheduler
