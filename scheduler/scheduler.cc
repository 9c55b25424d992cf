#include "scheduler/scheduler.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <queue>
#include <set>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "scheduler/cost_model.h"
#include "scheduler/session.h"
#include "scheduler/slack_policy.h"

namespace longtake::scheduler {
namespace {

// A quote is so much longer than the prediction: what comes late is mostly the batches of others, which are not in it.
constexpr double kQuoteMargin = 1.25;

}  // namespace

// Every entry changes the sessions under the lock and then pumps: whoever finds nobody pumping carries out all actions
// that lie in the queue, outside the lock, and plans again until nothing is left to do. So the device and the listener
// are called by one thread at a time and in the order of decisions, whatever threads the calls came from.
class Scheduler::Impl : public std::enable_shared_from_this<Scheduler::Impl> {
 public:
  Impl(const Options& options, const Clock* clock, Device* device, Listener* listener)
      : options_(options),
        policy_(options.policy != nullptr ? options.policy : std::make_shared<SlackPolicy>()),
        clock_(clock),
        device_(device),
        listener_(listener) {}

  absl::Status Add(Request request);
  void Cancel(SessionId id, absl::Status why);
  absl::StatusOr<int> ChangePrompt(SessionId id, int block, int prompt);
  void ChunkDelivered(SessionId id);
  Quote GetQuote(const Request& request) const;
  absl::Duration Poll();
  void StopAdmission(absl::Status why);
  void CancelAll(const absl::Status& why);
  Stats stats() const;
  void Stop();

 private:
  struct Batch {
    uint64_t number = 0;
    absl::Duration started;
    std::vector<Pass> passes;
    Work work;
  };
  struct Tenant {
    double weight = 1;
    double time = 0;  // device seconds over weight; where it was idle, moved up to the others
    double device_seconds = 0;
    int offline = 0;  // requests
  };

  void Pump() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Plan() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool AdmitOne() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool EndOne() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool TellPositions() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool SubmitOne() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Check(const Request& request) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Quote Promise(const Session& session) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool LoadPermits(const Session& session) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Session::Pace LivePace() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int TenantOf(const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Collect(const Session& session, Lane lane, absl::Duration now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void End(Session& session, absl::Status why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnOpened(SessionId id, const absl::Status& status);
  void OnPassDone(const Batch& batch, size_t index, const PassOutcome& outcome);

  const Options options_;
  const std::shared_ptr<Policy> policy_;
  const Clock* const clock_;
  Device* const device_;
  Listener* const listener_;

  mutable absl::Mutex mutex_;
  std::map<SessionId, Session> sessions_ ABSL_GUARDED_BY(mutex_);
  std::deque<SessionId> waiting_ ABSL_GUARDED_BY(mutex_);  // oldest first
  std::vector<Session*> placed_ ABSL_GUARDED_BY(mutex_);   // with a place, or about to have one; in order of admission
  std::deque<SessionId> ending_ ABSL_GUARDED_BY(mutex_);   // end_why set, and no pass under way
  CostModel cost_ ABSL_GUARDED_BY(mutex_);
  std::vector<Tenant> tenants_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, int> tenant_numbers_ ABSL_GUARDED_BY(mutex_);
  // What could run now, and whose it is; kept so that a tick allocates nothing.
  std::vector<Candidate> candidates_ ABSL_GUARDED_BY(mutex_);
  std::vector<Session*> candidate_sessions_ ABSL_GUARDED_BY(mutex_);
  uint64_t admissions_ ABSL_GUARDED_BY(mutex_) = 0, quotes_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t quotes_kept_ ABSL_GUARDED_BY(mutex_) = 0;
  std::deque<std::function<void()>> actions_ ABSL_GUARDED_BY(mutex_);
  bool pumping_ ABSL_GUARDED_BY(mutex_) = false;
  bool positions_changed_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status refuse_why_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  int in_flight_ ABSL_GUARDED_BY(mutex_) = 0;  // passes of the batch under way
  uint64_t batches_ ABSL_GUARDED_BY(mutex_) = 0, turns_ ABSL_GUARDED_BY(mutex_) = 0;
  double batch_seconds_ ABSL_GUARDED_BY(mutex_) = 0;  // moving mean
};

void Scheduler::Impl::Pump() {
  if (pumping_) return;  // that thread sees what was changed before it leaves
  pumping_ = true;
  while (!actions_.empty() || Plan()) {
    while (!actions_.empty()) {
      std::function<void()> action = std::move(actions_.front());
      actions_.pop_front();
      mutex_.Unlock();
      action();
      action = nullptr;  // what it holds is released outside the lock
      mutex_.Lock();
    }
  }
  pumping_ = false;
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
      absl::MutexLock lock(&mutex_);
      const auto found = sessions_.find(id);
      if (!found->second.live()) --tenants_[found->second.tenant].offline;
      std::erase(placed_, &found->second);
      sessions_.erase(found);
    }
    listener_->OnEnded(id, why);
  });
  return true;
}

// The oldest first; where the load keeps a live one waiting, offline ones behind it may take a place.
bool Scheduler::Impl::AdmitOne() {
  if (waiting_.empty() || static_cast<int>(placed_.size()) >= options_.places) return false;
  bool live_waits = false, offline_waits = false;
  const auto offline = std::count_if(placed_.begin(), placed_.end(), [](const Session* s) { return !s->live(); });
  for (auto next = waiting_.begin(); next != waiting_.end(); ++next) {
    const SessionId id = *next;
    Session& session = sessions_.at(id);
    if (session.live()) {
      if (live_waits || !LoadPermits(session)) {
        live_waits = true;
        continue;
      }
    } else if (offline_waits || offline >= options_.places - options_.live_places) {
      offline_waits = true;
      continue;
    }
    waiting_.erase(next);
    positions_changed_ = true;
    session.order = ++admissions_;
    placed_.push_back(&session);
    session.state = Session::State::kOpening;
    actions_.push_back([this, id] { OnOpened(id, device_->Open(id)); });
    return true;
  }
  return false;
}

void Scheduler::Impl::OnOpened(SessionId id, const absl::Status& status) {
  {
    absl::MutexLock lock(&mutex_);
    Session& session = sessions_.at(id);
    if (status.ok()) {
      session.state = Session::State::kRunning;
      if (session.end_why.has_value()) ending_.push_back(id);  // cancelled meanwhile
    } else {
      session.state = Session::State::kWaiting;  // has no place to close
      if (!session.end_why.has_value()) session.end_why = status;
      ending_.push_back(id);
    }
  }
  if (status.ok()) listener_->OnAdmitted(id);
}

bool Scheduler::Impl::TellPositions() {
  if (!positions_changed_) return false;
  positions_changed_ = false;
  int position = 0;
  for (SessionId id : waiting_) {
    Session& session = sessions_.at(id);
    if (session.told_position == ++position) continue;
    session.told_position = position;
    actions_.push_back([this, id, position] { listener_->OnWaiting(id, position); });
  }
  return !actions_.empty();
}

void Scheduler::Impl::Collect(const Session& session, Lane lane, absl::Duration now) {
  const std::optional<PassKind> kind = session.Next(lane, options_);
  if (!kind.has_value()) return;
  Candidate& candidate = candidates_.emplace_back();
  candidate.kind = *kind;
  candidate.tokens = session.Tokens(*kind);
  candidate.live = session.live();
  candidate.order = session.order;
  candidate.last_turn = session.last_turn;
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

bool Scheduler::Impl::SubmitOne() {
  if (in_flight_ > 0) return false;
  const absl::Duration now = clock_->Now();
  candidates_.clear();
  candidate_sessions_.clear();
  for (Session* session : placed_) {
    session->UpdateLead(now, options_);
    Collect(*session, Lane::kDecoder, now);
    Collect(*session, Lane::kTransformer, now);
    candidate_sessions_.resize(candidates_.size(), session);
  }
  if (candidates_.empty()) return false;

  auto batch = std::make_shared<Batch>();
  batch->number = ++batches_;
  batch->started = now;
  const Situation situation{
      .now = absl::ToDoubleSeconds(now), .batch = batches_, .max_passes = options_.max_batch_passes, .cost = &cost_};
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
    session.last_turn = ++turns_;
    if (pick.kind == PassKind::kDenoise) {
      // The first pass under a new prompt commits the block before again.
      if (const double again = session.RecommitTokens(); again > 0) batch->work.Add(PassKind::kCommit, again);
    }
    batch->passes.push_back(session.Start(pick.kind, now, cost_));
    batch->work.Add(pick.kind, pick.tokens);
  }
  in_flight_ = static_cast<int>(batch->passes.size());
  actions_.push_back([self = shared_from_this(), batch] {
    self->device_->Submit(batch->passes, [self, batch](size_t index, const PassOutcome& outcome) {
      self->OnPassDone(*batch, index, outcome);
    });
  });
  return true;
}

void Scheduler::Impl::OnPassDone(const Batch& batch, size_t index, const PassOutcome& outcome) {
  absl::MutexLock lock(&mutex_);
  const absl::Duration now = clock_->Now();
  const Pass& pass = batch.passes[index];
  if (--in_flight_ == 0) {
    // A mean over about the last ten batches.
    const double seconds = absl::ToDoubleSeconds(now - batch.started);
    batch_seconds_ = batch.number == 1 ? seconds : 0.9 * batch_seconds_ + 0.1 * seconds;
    cost_.Observe(batch.work, seconds);
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

absl::Status Scheduler::Impl::Check(const Request& request) const {
  if (!refuse_why_.ok()) return refuse_why_;
  if (request.denoise_steps < 1) return absl::InvalidArgumentError("denoise_steps must be at least 1");
  if (request.block_latents.empty()) return absl::InvalidArgumentError("block_latents is empty");
  for (int latents : request.block_latents) {
    if (latents < 1) return absl::InvalidArgumentError("block_latents has a block without latent frames");
  }
  if (!(request.latent_tokens > 0)) return absl::InvalidArgumentError("latent_tokens must be above 0");
  if (!request.block_seconds.empty() && request.block_seconds.size() != request.block_latents.size()) {
    return absl::InvalidArgumentError("block_seconds and block_latents differ in length");
  }
  for (double seconds : request.block_seconds) {
    if (!(seconds > 0)) return absl::InvalidArgumentError("block_seconds has a block without length");
  }
  for (size_t i = 0; i < request.step_ladder.size(); ++i) {
    const int most = i == 0 ? request.denoise_steps : request.step_ladder[i - 1] - 1;
    if (request.step_ladder[i] < 1 || request.step_ladder[i] > most || (i == 0 && request.step_ladder[0] != most)) {
      return absl::InvalidArgumentError("step_ladder must descend from denoise_steps");
    }
  }
  for (size_t i = 0; i < request.prompt_blocks.size(); ++i) {
    const int block = request.prompt_blocks[i];
    if (block <= (i == 0 ? 0 : request.prompt_blocks[i - 1]) ||
        block >= static_cast<int>(request.block_latents.size())) {
      return absl::InvalidArgumentError("prompt_blocks must ascend from 1 within the video");
    }
  }
  if (sessions_.contains(request.id)) {
    return absl::InvalidArgumentError(absl::StrCat("id ", request.id, " is in use"));
  }
  return absl::OkStatus();
}

Session::Pace Scheduler::Impl::LivePace() const {
  Session::Pace all;
  for (const Session* session : placed_) {
    const Session::Pace pace = session->NeededPace(cost_);
    all.load += pace.load;
    all.passes = std::max(all.passes, pace.passes);  // others' passes ride in the same batches
  }
  return all;
}

bool Scheduler::Impl::LoadPermits(const Session& session) const {
  const Session::Pace all = LivePace(), own = session.NeededPace(cost_);
  if (all.load == 0) return true;
  return all.load + own.load + cost_.fixed() * std::max(all.passes, own.passes) <= options_.max_live_load;
}

// Plays the waiting queue forward in time: who has a place gives it back at its predicted end, the next takes it.
Quote Scheduler::Impl::Promise(const Session& session) const {
  Quote quote;
  quote.waiting = static_cast<int>(std::count_if(
      waiting_.begin(), waiting_.end(), [&](SessionId id) { return sessions_.at(id).live() == session.live(); }));
  quote.confidence = (quotes_kept_ + 1.0) / (quotes_ + 2.0);
  const double now = absl::ToDoubleSeconds(clock_->Now());
  struct Ending {
    double at = 0, load = 0;
    bool live = true;
    bool operator>(const Ending& other) const { return at > other.at; }
  };
  std::priority_queue<Ending, std::vector<Ending>, std::greater<>> endings;
  double load = 0, passes = 0, starting = 0, offline = 0;
  int taken = 0, offline_taken = 0;
  const auto usable = [&] { return std::max(0.1, 1 - load - cost_.fixed() * passes); };
  for (const Session* other : placed_) {
    if (!cost_.learned()) break;  // no times to play with
    const Session::Pace pace = other->NeededPace(cost_);
    load += pace.load;
    passes = std::max(passes, pace.passes);
    const double left = other->SecondsLeft(cost_);
    if (other->live() && !other->started()) starting += other->ToNextChunk(cost_).seconds;
    if (!other->live()) offline += left;
    double end = now + left;
    if (other->started()) {
      end = std::max(end, absl::ToDoubleSeconds(other->Due()) + other->video_seconds() -
                              other->VideoSeconds(other->decoded_blocks()));
    } else if (other->live()) {
      end += other->video_seconds();
    }
    endings.push({end, pace.load, other->live()});
    ++taken;
    offline_taken += !other->live();
  }
  const double longest_batch = 20 * cost_.fixed();  // under way when the request comes
  double start = now, retry = 0;
  const auto place = [&](const Session& next, bool last) {
    const Session::Pace pace = next.NeededPace(cost_);
    const auto fits = [&] {
      return taken < options_.places && (next.live() || offline_taken < options_.places - options_.live_places) &&
             (!next.live() || load == 0 ||
              load + pace.load + cost_.fixed() * std::max(passes, pace.passes) <= options_.max_live_load);
    };
    while (!fits() && !endings.empty()) {
      start = std::max(start, endings.top().at);
      load = std::max(0.0, load - endings.top().load);
      if (taken == 1) load = 0;  // what rounding left
      offline_taken -= !endings.top().live;
      endings.pop();
      --taken;
    }
    if (retry == 0) retry = start - now;
    if (last) return;
    const double left = next.SecondsLeft(cost_) / usable();
    load += pace.load;
    passes = std::max(passes, pace.passes);
    ++taken;
    offline_taken += !next.live();
    if (next.live()) starting = next.ToNextChunk(cost_).seconds;
    endings.push({start + std::max(left, next.live() ? next.video_seconds() : 0), pace.load, next.live()});
  };
  // Those of the other delivery wait for other places, or for load that only live ones need.
  for (SessionId id : waiting_) {
    const Session& before = sessions_.at(id);
    if (cost_.learned() && before.live() == session.live()) place(before, false);
  }
  place(session, true);

  const double first = session.ToNextChunk(cost_).seconds + starting + (session.live() ? 0 : offline);
  const double all = session.SecondsLeft(cost_) + starting + (session.live() ? 0 : offline);
  quote.start = absl::Seconds(start - now);
  if (cost_.learned()) {
    const double ready = (start - now + longest_batch + first / usable()) * kQuoteMargin;
    double last = (start - now + longest_batch + all / usable()) * kQuoteMargin;
    if (session.live()) last = std::max(last, ready + session.video_seconds());
    quote.first_chunk = absl::Seconds(ready);
    quote.last_chunk = absl::Seconds(last);
  } else {
    quote.first_chunk = quote.last_chunk = absl::InfiniteDuration();
  }
  // Who need not wait is only passing through the queue. 64 bits: max_waiting may be the largest int, for "any number".
  const int64_t free_places =
      start > now ? 0 : std::max<int64_t>(0, options_.places - static_cast<int64_t>(placed_.size()));
  if (quote.waiting >= options_.max_waiting + free_places) {
    quote.status =
        absl::ResourceExhaustedError(absl::StrCat(placed_.size(), " of ", options_.places, " places are taken and ",
                                                  quote.waiting, " such requests wait, the most that may"));
  } else if (quote.start > options_.max_wait) {
    quote.status = absl::ResourceExhaustedError(absl::StrCat("the wait would be ", absl::FormatDuration(quote.start),
                                                             ", longer than ", absl::FormatDuration(options_.max_wait),
                                                             "; ", quote.waiting, " requests wait"));
    retry = absl::ToDoubleSeconds(quote.start - options_.max_wait);
  }
  if (!quote.status.ok()) quote.retry_after = absl::Seconds(std::max(1.0, retry));
  return quote;
}

Quote Scheduler::Impl::GetQuote(const Request& request) const {
  absl::MutexLock lock(&mutex_);
  if (absl::Status status = Check(request); !status.ok()) return {.status = std::move(status)};
  return Promise(Session(request));
}

int Scheduler::Impl::TenantOf(const std::string& name) {
  const auto [found, added] = tenant_numbers_.emplace(name, static_cast<int>(tenants_.size()));
  if (added) {
    const auto weight = options_.tenant_weights.find(name);
    tenants_.push_back({.weight = weight == options_.tenant_weights.end() ? 1 : weight->second});
  }
  return found->second;
}

absl::Status Scheduler::Impl::Add(Request request) {
  absl::MutexLock lock(&mutex_);
  if (absl::Status status = Check(request); !status.ok()) return status;
  Session made(std::move(request));
  const Quote quote = Promise(made);
  if (!quote.status.ok()) return quote.status;
  const SessionId id = made.request().id;
  const absl::Duration now = clock_->Now();
  made.tenant = TenantOf(made.request().tenant);
  made.first_quoted = now + quote.first_chunk;
  // Where there is no promise yet, a first chunk is due at once. The part of a quote that covers errors of prediction
  // is not for others to use up.
  made.first_due = quote.first_chunk < absl::InfiniteDuration() ? now + quote.first_chunk / kQuoteMargin : now;
  if (!made.live()) {
    // A tenant does not save up the time in which it asked for nothing.
    Tenant& tenant = tenants_[made.tenant];
    if (tenant.offline++ == 0) {
      double least = std::numeric_limits<double>::infinity();
      for (const Tenant& other : tenants_) {
        if (&other != &tenant && other.offline > 0) least = std::min(least, other.time);
      }
      if (least < std::numeric_limits<double>::infinity()) tenant.time = std::max(tenant.time, least);
    }
  }
  sessions_.emplace(id, std::move(made));
  waiting_.push_back(id);
  positions_changed_ = true;
  Pump();
  return absl::OkStatus();
}

void Scheduler::Impl::End(Session& session, absl::Status why) {
  if (session.end_why.has_value()) return;
  session.end_why = std::move(why);
  const SessionId id = session.request().id;
  if (session.state == Session::State::kWaiting) {
    std::erase(waiting_, id);
    positions_changed_ = true;
    ending_.push_back(id);
  } else if (session.state == Session::State::kRunning && !session.in_flight()) {
    ending_.push_back(id);
  }  // else OnOpened or OnPassDone sees end_why
}

void Scheduler::Impl::Cancel(SessionId id, absl::Status why) {
  absl::MutexLock lock(&mutex_);
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return;
  End(found->second, std::move(why));
  Pump();
}

void Scheduler::Impl::CancelAll(const absl::Status& why) {
  absl::MutexLock lock(&mutex_);
  for (auto& [id, session] : sessions_) End(session, why);
  Pump();
}

absl::StatusOr<int> Scheduler::Impl::ChangePrompt(SessionId id, int block, int prompt) {
  absl::MutexLock lock(&mutex_);
  const auto found = sessions_.find(id);
  if (found == sessions_.end() || found->second.end_why.has_value()) {
    return absl::NotFoundError(absl::StrCat("session ", id, " is not being made"));
  }
  return found->second.ChangePrompt(block, prompt);
}

void Scheduler::Impl::ChunkDelivered(SessionId id) {
  absl::MutexLock lock(&mutex_);
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return;
  found->second.ChunkDelivered(clock_->Now());
  Pump();
}

void Scheduler::Impl::StopAdmission(absl::Status why) {
  absl::MutexLock lock(&mutex_);
  refuse_why_ = std::move(why);
  for (SessionId id : std::vector<SessionId>(waiting_.begin(), waiting_.end())) End(sessions_.at(id), refuse_why_);
  Pump();
}

absl::Duration Scheduler::Impl::Poll() {
  absl::MutexLock lock(&mutex_);
  const absl::Duration now = clock_->Now();
  absl::Duration next = absl::InfiniteDuration();
  for (Session* session : placed_) {
    if (session->end_why.has_value()) continue;
    session->UpdateLead(now, options_);
    if (session->ahead()) next = std::min(next, session->WakeAt(options_));
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
  absl::MutexLock lock(&mutex_);
  const absl::Duration now = clock_->Now();
  Stats stats;
  stats.running = static_cast<int>(placed_.size());
  stats.waiting = static_cast<int>(waiting_.size());
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
  const Session::Pace pace = LivePace();
  stats.live_load = pace.load + cost_.fixed() * pace.passes;
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
  absl::MutexLock lock(&mutex_);
  stopped_ = true;
  const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return in_flight_ == 0 && !pumping_; };
  mutex_.Await(absl::Condition(&idle));
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
