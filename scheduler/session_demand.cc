// What a session needs of its device, and how many steps its blocks may have.
#include <algorithm>

#include "scheduler/session.h"

namespace longtake::scheduler {

double Session::Transform(const Costs& costs, int block, int steps, int company, LaneRole role) const {
  if (role == LaneRole::kDecoder) return 0;
  return steps * costs.InCompany(PassKind::kDenoise, block_tokens(block), company) +
         costs.InCompany(PassKind::kCommit, block_tokens(block), company);
}

double Session::Decode(const Costs& costs, int block, int from, int to, int company, LaneRole role) const {
  if (role == LaneRole::kTransformer || from >= to) return 0;
  double seconds = 0;
  if (block == 0 && from == 0) {
    seconds += costs.InCompany(PassKind::kDecode, request_.first_decode * decode_tokens(), company);
    ++from;
  }
  return seconds + (to - from) * costs.InCompany(PassKind::kDecode, decode_tokens(), company);
}

double Session::NextFront(const Costs& costs, int steps) const {
  const int block = committed_blocks_;
  return Transform(costs, block, steps, 1, LaneRole::kAll) + costs.Marginal(PassKind::kCommit, RecommitTokens()) +
         Decode(costs, block, 0, ChunkLatents(block), 1, LaneRole::kAll);
}

double Session::NextBlock(const Costs& costs, int steps) const {
  const int block = committed_blocks_;
  return NextFront(costs, steps) + Decode(costs, block, ChunkLatents(block), latents(block), 1, LaneRole::kAll);
}

double Session::Stretch(absl::Duration now) const {
  // The block that is still being decoded has taken so much longer at least.
  return making_.empty() ? stretch_ : std::max(stretch_, making_.front().Stretch(now));
}

// The most steps with which the block's chunks are predicted to be in time if the device is shared as it was for the
// last blocks; fewer under pressure.
int Session::ChooseLevel(absl::Duration now, const Costs& costs, double margin, Pressure pressure) const {
  if (committed_blocks_ < static_cast<int>(request_.made_levels.size())) {
    return request_.made_levels[committed_blocks_];
  }
  const int levels = static_cast<int>(request_.step_ladder.size());
  if (levels == 0 || !live() || !costs.learned()) return 0;
  if (pressure == Pressure::kSomeWaits) return levels - 1;
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
  for (int level = 0; level < levels; ++level) {
    const int steps = StepsAt(level);
    if (NextFront(costs, steps) * stretch > time || NextBlock(costs, steps) * stretch > time + more) continue;
    return std::min(levels - 1, level + (pressure == Pressure::kCrowded ? 1 : 0));
  }
  return levels - 1;
}

Session::Remaining Session::TransformLeft(const Costs& costs, int company, Steps count) const {
  if (committed_blocks_ == blocks()) return {};
  const bool fewest = count == Steps::kFewest && live() && step_ == 0 && !transformer_busy_;
  const int steps = fewest ? LowestSteps() : steps_ - step_;
  Remaining left{.passes = steps + 1,
                 .seconds = Transform(costs, committed_blocks_, steps, company, LaneRole::kTransformer) +
                            costs.Marginal(PassKind::kCommit, RecommitTokens())};
  if (PromptDue()) {
    ++left.passes;
    left.seconds += costs.InCompany(PassKind::kEncodePrompt, 0, company);
  }
  return left;
}

Session::Remaining Session::ToNextChunk(const Costs& costs, int company, LaneRole role, Steps count) const {
  Remaining left;
  if (role == LaneRole::kTransformer || (!done() && committed_blocks_ == decoded_blocks_ && role == LaneRole::kAll)) {
    left = TransformLeft(costs, company, count);
  }
  if (done() || role == LaneRole::kTransformer) return left;
  left.passes += ChunkEnd() - decoded_latents_;
  left.seconds += Decode(costs, decoded_blocks_, decoded_latents_, ChunkEnd(), company, role);
  return left;
}

absl::Duration Session::LaneDue(const Costs& costs, LaneRole role) const {
  if (role != LaneRole::kTransformer || committed_blocks_ == blocks()) return Due();
  const int block = committed_blocks_;
  return DueAt(StartOf(block)) - absl::Seconds(Decode(costs, block, 0, ChunkLatents(block), 1, LaneRole::kDecoder));
}

double Session::SecondsLeft(const Costs& costs) const {
  if (done()) return 0;
  const int typical = blocks() - 1;
  const double block = Transform(costs, typical, request_.denoise_steps, 1, LaneRole::kAll) +
                       Decode(costs, typical, 0, latents(typical), 1, LaneRole::kAll);
  return ToNextChunk(costs).seconds +
         Decode(costs, decoded_blocks_, ChunkEnd(), latents(decoded_blocks_), 1, LaneRole::kAll) +
         (blocks() - decoded_blocks_ - 1) * block;
}

double Session::LongestPass(const Costs& costs, LaneRole role) const {
  const double decode = role == LaneRole::kTransformer ? 0 : costs.Alone(PassKind::kDecode, decode_tokens());
  if (committed_blocks_ == blocks() || role == LaneRole::kDecoder) return decode;
  const int most = *std::max_element(request_.block_latents.begin() + committed_blocks_, request_.block_latents.end());
  return std::max(decode, costs.Alone(PassKind::kDenoise, most * request_.latent_tokens));
}

double Session::NeededLoad(const Costs& costs, int company, LaneRole role) const {
  if (!live() || committed_blocks_ == blocks()) return 0;
  const int typical = blocks() - 1;
  const double block = Transform(costs, typical, LowestSteps(), company, role) +
                       Decode(costs, typical, 0, latents(typical), company, role);
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
                .work = TransformLeft(costs, company, Steps::kAll).seconds};
  const double typical = Transform(costs, last, LowestSteps(), company, LaneRole::kTransformer);
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
    return Transform(costs, of, LowestSteps(), company, role) + Decode(costs, of, 0, ChunkLatents(of), company, role);
  };
  const auto rest = [&](int of, int from) { return Decode(costs, of, from, latents(of), company, role); };
  // While the rest of the block plays: the rest itself, and the next block up to its first chunk.
  demand.slopes[0] =
      Evenly(rest(block, ChunkEnd()) + (block < last ? front(block + 1) : 0), StartOf(block + 1) - start);
  if (block == last) return demand;
  // While whole blocks play: as many of the typical kind, each a block's rest and the next one's front.
  demand.slopes[1] =
      Evenly((last - block - 1) * (front(last) + rest(last, ChunkLatents(last))), StartOf(last) - StartOf(block + 1));
  demand.slopes[2] = Evenly(rest(last, ChunkLatents(last)), Length() - StartOf(last));
  return demand;
}

}  // namespace longtake::scheduler
