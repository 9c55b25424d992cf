// What each lane runs next.
#include <algorithm>
#include <memory>
#include <utility>

#include "scheduler/core.h"

namespace longtake::scheduler {

void Core::Collect(Session& session, const Lane& lane, absl::Duration now) {
  const DeviceState& device = roster_.devices[session.device];
  const LaneRole role = lane.info().role;
  std::optional<PassKind> kind = session.Next(role, options_);
  if (kind.has_value()) {
    std::optional<absl::Duration>& since = session.passed_over_since(*kind);
    if (!since.has_value()) since = now;
  } else {
    session.NotPassedOver(role);
    kind = session.After(role);
    if (!kind.has_value()) return;
  }
  Candidate& candidate = candidates_.emplace_back();
  candidate.kind = *kind;
  candidate.tokens = session.Tokens(*kind);
  candidate.live = session.live();
  candidate.order = session.order;
  candidate.last_turn = session.last_turn;
  if (const auto since = session.passed_over_since(*kind)) candidate.waited = absl::ToDoubleSeconds(now - *since);
  if (candidate.live) {
    const Costs costs = device.costs();
    const Session::Remaining left = session.ToNextChunk(costs, 1, role, Session::Fidelity::kLowest);
    const absl::Duration due = session.LaneDue(costs, role);
    candidate.due = absl::ToDoubleSeconds(due);
    candidate.slack = absl::ToDoubleSeconds(due - now) - left.seconds;
    const int company = static_cast<int>(device.placed.size());
    candidate.lane_seconds = session.ToNextChunk(costs, company, role, Session::Fidelity::kLowest).seconds;
    candidate.passes_to_chunk = std::max(1, left.passes);
    candidate.started = session.first_chunk_done();
    candidate.stalled = session.has_stalled();
  } else {
    const Tenants::Tenant& tenant = tenants_.at(session.tenant);
    candidate.tenant = session.tenant;
    candidate.tenant_time = tenant.time;
    candidate.yields = session.yields;
    candidate.tenant_weight = tenant.weight;
    candidate.priority = session.request().priority;
  }
  candidate_sessions_.push_back(&session);
}

// Streams that nobody needs anything of soon, only where nobody else has anything to run: those far ahead of their
// viewers, and those whose viewers are away. A live request that waits counts as somebody, but to those ahead: what
// they need later, done now, is what lets it in.
void Core::CollectAll(const Lane& lane, absl::Duration now) {
  candidates_.clear();
  candidate_sessions_.clear();
  const std::vector<Session*>& placed = roster_.devices[Index(lane.info().device)].placed;
  const auto rests = [&](const Session& session) {
    return session.attention != Session::Attention::kAwake || (session.ahead() && roster_.live_waiting.empty());
  };
  bool any_rests = false;
  for (Session* session : placed) {
    if (rests(*session)) {
      session->NotPassedOver(lane.info().role);
      any_rests = true;
    } else {
      Collect(*session, lane, now);
    }
  }
  LimitDecoders(lane);
  if (!any_rests || !candidates_.empty()) return;
  for (Session* session : placed) Collect(*session, lane, now);
  LimitDecoders(lane);
}

// Where the memory of only so many decoders is on the device, those in the middle of a block keep theirs, and others
// begin a block as places become free, the earliest due first.
void Core::LimitDecoders(const Lane& lane) {
  const int places = lane.info().decoder_places;
  if (places <= 0 || lane.info().role == LaneRole::kTransformer) return;
  const std::vector<Session*>& placed = roster_.devices[Index(lane.info().device)].placed;
  auto room = places - static_cast<int>(std::count_if(placed.begin(), placed.end(), [](const Session* session) {
                return session->decoding_block() || session->decoder_busy();
              }));
  std::vector<size_t> begin;  // candidates that would begin a block
  for (size_t i = 0; i < candidates_.size(); ++i) {
    const Session& session = *candidate_sessions_[i];
    const bool begins = !session.decoding_block() && !session.decoder_busy();
    if (candidates_[i].kind == PassKind::kDecode && begins) begin.push_back(i);
  }
  std::stable_sort(begin.begin(), begin.end(), [&](size_t a, size_t b) {
    const Candidate &x = candidates_[a], &y = candidates_[b];
    return x.live != y.live ? x.live : x.due < y.due;
  });
  begin.erase(begin.begin(), begin.begin() + std::clamp<std::ptrdiff_t>(room, 0, std::ssize(begin)));
  std::sort(begin.rbegin(), begin.rend());
  for (size_t i : begin) {
    candidates_.erase(candidates_.begin() + static_cast<std::ptrdiff_t>(i));
    candidate_sessions_.erase(candidate_sessions_.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

std::optional<size_t> Core::Turn(const Lane& lane) const {
  if (!lane.MayTakeTurn()) return std::nullopt;
  const auto longest = std::max_element(candidates_.begin(), candidates_.end(),
                                        [](const Candidate& a, const Candidate& b) { return a.waited < b.waited; });
  if (longest->waited < absl::ToDoubleSeconds(tuning::kTurnAfter)) return std::nullopt;
  return static_cast<size_t>(longest - candidates_.begin());
}

void Core::SubmitOne(Lane& lane, absl::Duration now) {
  if (lane.NextBatchAt() > now) return;
  CollectAll(lane, now);
  if (candidates_.empty()) return;
  Situation situation{.now = absl::ToDoubleSeconds(now),
                      .batch = lane.batches() + 1,
                      .live_waiting = roster_.live_waiting.size(),
                      .max_passes = options_.max_batch_passes,
                      .cost = &lane.cost(),
                      .learned = lane.learned(),
                      .turn = Turn(lane)};
  situation.by_due = ByDue(candidates_);
  situation.crowded = Crowded(situation, candidates_);
  situation.overloaded = situation.crowded && admission_.LiveLoad(lane) > 1;
  const Session::Pressure pressure = admission_.load_holds() ? Session::Pressure::kSomeWaits
                                     : situation.crowded     ? Session::Pressure::kCrowded
                                                             : Session::Pressure::kNone;
  Submit(lane, policy_->Compose(situation, candidates_), situation.turn.has_value(), pressure, now);
}

// Behind a batch that runs, the sessions whose passes it holds are offered too, with what they could run when it is
// done. Only if none of them would be in the next batch, that batch is decided now: it would be the same one.
void Core::Submit(Lane& lane, const std::vector<size_t>& picks, bool turn, Session::Pressure pressure,
                  absl::Duration now) {
  Lane::Batch batch{.turn = turn};
  for (size_t i : picks) {
    if (!candidate_sessions_[i]->Next(lane.info().role, options_).has_value()) return;
    const Candidate& pick = candidates_[i];
    batch.work.Add(pick.kind, pick.tokens);
    // The first denoising pass under a new prompt commits the block before again.
    const double again = pick.kind == PassKind::kDenoise ? candidate_sessions_[i]->RecommitTokens() : 0;
    if (again > 0) batch.work.Add(PassKind::kCommit, again);
  }
  const Costs costs = roster_.devices[Index(lane.info().device)].costs();
  const int company = admission_.Company(lane);
  bool any_live = false;
  for (size_t i : picks) {
    Session& session = *candidate_sessions_[i];
    session.last_turn = ++turns_;
    const double seconds = costs.Alone(candidates_[i].kind, candidates_[i].tokens);
    tenants_.Begin(session.tenant, session.request().delivery, seconds);
    batch.seconds.push_back(seconds);
    const Candidate& pick = candidates_[i];
    batch.counted +=
        pick.live ? costs.InCompany(pick.kind, pick.tokens, company) : costs.Marginal(pick.kind, pick.tokens);
    any_live = any_live || pick.live;
    batch.passes.push_back(session.Start(candidates_[i].kind, now, costs, admission_.block_margin(), pressure));
  }
  if (!any_live) batch.counted = 0;
  in_flight_ += static_cast<int>(batch.passes.size());
  const std::shared_ptr<Lane::Batch> begun = lane.Begin(std::move(batch), now);
  device_->Submit(lane.id(), begun->passes, [this, &lane, begun](size_t index, PassOutcome outcome) {
    loop_->Post([this, &lane, begun, index, outcome = std::move(outcome), now = Now()] {
      OnPassDone(lane, *begun, index, outcome, now);
    });
  });
}

void Core::OnPassDone(Lane& lane, Lane::Batch& batch, size_t index, const PassOutcome& outcome, absl::Duration now) {
  const Pass& pass = batch.passes[index];
  const absl::Duration submitted = batch.submitted;
  if (lane.PassDone(batch, now)) {
    for (const auto& other : roster_.lanes) other->LearnFrom(lane);
    admission_.Changed();
  }
  Session& session = roster_.sessions.at(pass.session);
  tenants_.End(session.tenant, session.request().delivery, batch.seconds[index], outcome.device_seconds);
  if (!outcome.status.ok()) {
    session.Abandon(pass.kind);
    if (!session.end_why.has_value()) session.end_why = outcome.status;
  } else {
    Session::Finished finished = session.Finish(pass.kind, now);
    finished.report.started = submitted;
    finished.report.ended = now;
    finished.report.device_seconds = outcome.device_seconds;
    if (finished.block_error > 0) admission_.ObserveBlock(finished.block_error);
    if (finished.first_chunk_done) admission_.promises().Decoded(pass.session, now);
    if (session.done() && !session.end_why.has_value()) session.end_why = absl::OkStatus();
    Touch(session, now);
    if (!stopping_) {
      listener_->OnPass(pass.session, finished.report);
      if (finished.block_done) listener_->OnBlock(pass.session, finished.report.block);
    }
  }
  if (session.end_why.has_value() && !session.in_flight()) ending_.push_back(pass.session);
  if (--in_flight_ == 0 && stopping_) stopped_();
}

}  // namespace longtake::scheduler
