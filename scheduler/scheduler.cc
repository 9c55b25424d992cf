#include "scheduler/scheduler.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "scheduler/impl.h"
#include "scheduler/slack_policy.h"

namespace longtake::scheduler {

Scheduler::Impl::Impl(const Options& options, const Clock* clock, Device* device, Listener* listener)
    : options_(options),
      policy_(options.policy != nullptr ? options.policy : std::make_shared<SlackPolicy>()),
      clock_(clock),
      device_(device),
      listener_(listener) {}

void Scheduler::Impl::Pump() {
  if (pumping_) return;  // that thread sees what was changed before it leaves
  pumping_ = true;
  while (!actions_.empty() || Plan()) {
    while (!actions_.empty()) {
      std::function<void()> action = std::move(actions_.front());
      actions_.pop_front();
      mutex_.unlock();
      action();
      action = nullptr;  // what it holds is released outside the lock
      mutex_.lock();
    }
  }
  pumping_ = false;
  pumped_.notify_all();
}

// Places are freed first, then given away, then used.
bool Scheduler::Impl::Plan() {
  if (stopped_) return false;
  return EndOne() || AdmitOne() || TellPositions() || SubmitOne();
}

bool Scheduler::Impl::EndOne() {
  if (ending_.empty()) return false;
  const SessionId id = ending_.front();
  ending_.pop_front();
  Session& session = sessions_.at(id);
  const bool placed = session.state == Session::State::kRunning;
  session.state = Session::State::kClosing;
  actions_.push_back([this, id, placed, why = *session.end_why] {
    if (placed) device_->Close(id);
    {
      const std::lock_guard lock(mutex_);
      const auto found = sessions_.find(id);
      if (!found->second.live()) --tenants_[found->second.tenant].offline;
      std::erase(placed_, &found->second);
      load_holds_ = false;
      sessions_.erase(found);
    }
    listener_->OnEnded(id, why);
  });
  return true;
}

bool Scheduler::Impl::TellPositions() {
  if (!positions_changed_) return false;
  positions_changed_ = false;
  for (const std::deque<SessionId>* queue : {&live_waiting_, &offline_waiting_}) {
    int position = 0;
    for (SessionId id : *queue) {
      Session& session = sessions_.at(id);
      if (session.told_position == ++position) continue;
      session.told_position = position;
      actions_.push_back([this, id, position] { listener_->OnWaiting(id, position); });
    }
  }
  return !actions_.empty();
}

void Scheduler::Impl::Collect(Session& session, absl::Duration now) {
  const size_t before = candidates_.size();
  for (Lane lane : {Lane::kDecoder, Lane::kTransformer}) {
    const std::optional<PassKind> kind = session.Next(lane, options_);
    if (!kind.has_value()) continue;
    Candidate& candidate = candidates_.emplace_back();
    candidate.kind = *kind;
    candidate.tokens = session.Tokens(*kind);
    candidate.live = session.live();
    candidate.order = session.order;
    candidate.last_turn = session.last_turn;
    candidate.waited = batches_ - session.waits_since;
    if (candidate.live) {
      const Session::Remaining left = session.ToNextChunk(cost_);
      candidate.due = absl::ToDoubleSeconds(session.Due());
      candidate.slack = absl::ToDoubleSeconds(session.Due() - now) - left.seconds;
      candidate.passes_to_chunk = std::max(1, left.passes);
      candidate.started = session.started();
    } else {
      const Tenant& tenant = tenants_[session.tenant];
      candidate.tenant = session.tenant;
      candidate.tenant_time = tenant.time;
      candidate.tenant_weight = tenant.weight;
      candidate.priority = session.request().priority;
    }
  }
  if (candidates_.size() == before) session.waits_since = batches_;
  candidate_sessions_.resize(candidates_.size(), &session);
}

// Streams far ahead of their viewers only where nobody else has anything to run. A live request that waits counts as
// somebody: what they need later, done now, is what lets it in.
void Scheduler::Impl::CollectAll(absl::Duration now) {
  candidates_.clear();
  candidate_sessions_.clear();
  bool rests = false;
  for (Session* session : placed_) {
    session->UpdateLead(now, options_);
    if (session->ahead() && live_waiting_.empty()) {
      session->waits_since = batches_;
      rests = true;
    } else {
      Collect(*session, now);
    }
  }
  if (!rests || !candidates_.empty()) return;
  for (Session* session : placed_) Collect(*session, now);
}

bool Scheduler::Impl::SubmitOne() {
  if (in_flight_ > 0) return false;
  const absl::Duration now = clock_->Now();
  CollectAll(now);
  if (candidates_.empty()) return false;

  auto batch = std::make_shared<Batch>();
  ++batches_;
  batch->started = now;
  const Situation situation{.now = absl::ToDoubleSeconds(now),
                            .batch = batches_,
                            .live_waiting = live_waiting_.size(),
                            .max_passes = options_.max_batch_passes,
                            .cost = &cost_};
  std::vector<size_t> picks = policy_->Compose(situation, candidates_);
  if (options_.lanes_overlap) {
    // Beside a pass in one lane, its session's pass in the other: the two are neighbours.
    const std::set<size_t> picked(picks.begin(), picks.end());
    for (size_t i : picked) {
      for (size_t other : {i - 1, i + 1}) {
        if (other < candidates_.size() && candidate_sessions_[other] == candidate_sessions_[i] &&
            !picked.contains(other) && static_cast<int>(picks.size()) < options_.max_batch_passes) {
          picks.push_back(other);
        }
      }
    }
  }
  for (size_t i : picks) {
    Session& session = *candidate_sessions_[i];
    const Candidate& pick = candidates_[i];
    session.waits_since = batches_;
    session.last_turn = ++turns_;
    if (pick.kind == PassKind::kDenoise) {
      // The first pass under a new prompt commits the block before again.
      if (const double again = session.RecommitTokens(); again > 0) batch->work.Add(PassKind::kCommit, again);
    }
    batch->passes.push_back(session.Start(pick.kind, now, cost_));
    batch->work.Add(pick.kind, pick.tokens);
  }
  in_flight_ = static_cast<int>(batch->passes.size());
  batch_ends_ = now + absl::Seconds(cost_.Predict(batch->work));
  actions_.push_back([self = shared_from_this(), batch] {
    self->device_->Submit(batch->passes, [self, batch](size_t index, const PassOutcome& outcome) {
      self->OnPassDone(*batch, index, outcome);
    });
  });
  return true;
}

void Scheduler::Impl::OnPassDone(const Batch& batch, size_t index, const PassOutcome& outcome) {
  const std::lock_guard lock(mutex_);
  const absl::Duration now = clock_->Now();
  const Pass& pass = batch.passes[index];
  if (--in_flight_ == 0) {
    // A mean over about the last ten batches.
    const double seconds = absl::ToDoubleSeconds(now - batch.started);
    batch_seconds_ = batch_seconds_ == 0 ? seconds : 0.9 * batch_seconds_ + 0.1 * seconds;
    cost_.Observe(batch.work, seconds);
    load_holds_ = false;
  }
  Session& session = sessions_.at(pass.session);
  Tenant& tenant = tenants_[session.tenant];
  tenant.device_seconds += outcome.device_seconds;
  if (!session.live()) tenant.time += outcome.device_seconds / tenant.weight;
  if (!outcome.status.ok()) {
    session.Abandon(pass.kind);
    if (!session.end_why.has_value()) session.end_why = outcome.status;
  } else {
    PassReport report = session.Finish(pass.kind, now);
    report.started = batch.started;
    report.ended = now;
    report.device_seconds = outcome.device_seconds;
    actions_.push_back([this, report, id = pass.session] { listener_->OnPass(id, report); });
    if (pass.kind == PassKind::kDecode && report.step == report.steps) {
      if (report.block == 0 && session.live() && session.first_quoted < absl::InfiniteDuration()) {
        ++quotes_;
        if (now <= session.first_quoted) ++quotes_kept_;
      }
      actions_.push_back([this, report, id = pass.session] { listener_->OnBlock(id, report.block); });
    }
    if (session.done() && !session.end_why.has_value()) session.end_why = absl::OkStatus();
  }
  if (session.end_why.has_value() && !session.in_flight()) ending_.push_back(pass.session);
  Pump();
}

void Scheduler::Impl::End(Session& session, absl::Status why) {
  if (session.end_why.has_value()) return;
  session.end_why = std::move(why);
  const SessionId id = session.request().id;
  if (session.state == Session::State::kWaiting) {
    std::erase(Queue(session.live()), id);
    positions_changed_ = true;
    load_holds_ = false;
    ending_.push_back(id);
  } else if (session.state == Session::State::kRunning && !session.in_flight()) {
    ending_.push_back(id);
  }  // else OnOpened or OnPassDone sees end_why
}

void Scheduler::Impl::Cancel(SessionId id, absl::Status why) {
  const std::lock_guard lock(mutex_);
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return;
  End(found->second, std::move(why));
  Pump();
}

void Scheduler::Impl::CancelAll(const absl::Status& why) {
  const std::lock_guard lock(mutex_);
  for (auto& [id, session] : sessions_) End(session, why);
  Pump();
}

absl::StatusOr<int> Scheduler::Impl::ChangePrompt(SessionId id, int block, int prompt) {
  const std::lock_guard lock(mutex_);
  const auto found = sessions_.find(id);
  if (found == sessions_.end() || found->second.end_why.has_value()) {
    return absl::NotFoundError(absl::StrCat("session ", id, " is not being made"));
  }
  return found->second.ChangePrompt(block, prompt);
}

void Scheduler::Impl::ChunkDelivered(SessionId id) {
  const std::lock_guard lock(mutex_);
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return;
  found->second.ChunkDelivered(clock_->Now());
  Pump();
}

void Scheduler::Impl::StopAdmission(absl::Status why) {
  const std::lock_guard lock(mutex_);
  refuse_why_ = std::move(why);
  for (auto& [id, session] : sessions_) {
    if (session.state == Session::State::kWaiting) End(session, refuse_why_);
  }
  Pump();
}

absl::Duration Scheduler::Impl::Poll() {
  const std::lock_guard lock(mutex_);
  const absl::Duration now = clock_->Now();
  absl::Duration next = absl::InfiniteDuration();
  for (Session* session : placed_) {
    if (session->end_why.has_value()) continue;
    if (!session->Parked(options_)) {
      session->unread_since.reset();
      continue;
    }
    if (!session->unread_since.has_value()) session->unread_since = now;
    if (now - *session->unread_since >= options_.max_unread) {
      End(*session, absl::DeadlineExceededError(
                        absl::StrCat("the client has read nothing for ", absl::FormatDuration(options_.max_unread))));
    } else {
      next = std::min(next, *session->unread_since + options_.max_unread);
    }
  }
  Pump();
  return next;
}

Stats Scheduler::Impl::stats() const {
  const std::lock_guard lock(mutex_);
  const absl::Duration now = clock_->Now();
  Stats stats;
  stats.running = static_cast<int>(placed_.size());
  stats.waiting = static_cast<int>(live_waiting_.size() + offline_waiting_.size());
  stats.passes_in_flight = in_flight_;
  int fewest = 0;
  for (const Session* session : placed_) {
    if (session->Parked(options_)) {
      ++stats.parked;
    } else if (session->ahead()) {
      ++stats.ahead;
    }
    fewest = fewest == 0 ? session->passes_left() : std::min(fewest, session->passes_left());
    if (session->live() && !session->done()) {
      stats.slacks.push_back(absl::ToDoubleSeconds(session->Due() - now) - session->ToNextChunk(cost_).seconds);
    }
  }
  for (const auto& [id, session] : sessions_) stats.backlog_seconds += session.SecondsLeft(cost_);
  stats.live_load = LiveLoad();
  stats.prediction_error = cost_.error();
  for (int i = 0; i < Work::kKinds; ++i) stats.kind_error[i] = cost_.error(static_cast<PassKind>(i));
  stats.batches = batches_;
  stats.quotes = quotes_;
  stats.quotes_kept = quotes_kept_;
  for (const auto& [name, number] : tenant_numbers_) {
    stats.tenant_device_seconds[name] = tenants_[number].device_seconds;
  }
  const double seconds = batch_seconds_ * fewest;
  stats.next_place = seconds > 0 ? absl::Seconds(seconds) : absl::Seconds(1);
  return stats;
}

void Scheduler::Impl::Stop() {
  std::unique_lock lock(mutex_);
  stopped_ = true;
  pumped_.wait(lock, [this] { return in_flight_ == 0 && !pumping_; });
}

Scheduler::Scheduler(const Options& options, const Clock* clock, Device* device, Listener* listener)
    : impl_(std::make_shared<Impl>(options, clock, device, listener)) {}
Scheduler::~Scheduler() { impl_->Stop(); }

absl::Status Scheduler::Add(Request request) { return impl_->Add(std::move(request)); }
void Scheduler::Cancel(SessionId session, absl::Status why) { impl_->Cancel(session, std::move(why)); }
absl::StatusOr<int> Scheduler::ChangePrompt(SessionId session, int block, int prompt) {
  return impl_->ChangePrompt(session, block, prompt);
}
void Scheduler::ChunkDelivered(SessionId session) { impl_->ChunkDelivered(session); }
void Scheduler::StopAdmission(absl::Status why) { impl_->StopAdmission(std::move(why)); }
void Scheduler::CancelAll(absl::Status why) { impl_->CancelAll(why); }
Quote Scheduler::GetQuote(const Request& request) const { return impl_->GetQuote(request); }
absl::Duration Scheduler::Poll() { return impl_->Poll(); }
Stats Scheduler::stats() const { return impl_->stats(); }

}  // namespace longtake::scheduler
