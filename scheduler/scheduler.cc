#include "scheduler/scheduler.h"

#include <algorithm>
#include <deque>
#include <map>
#include <tuple>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "scheduler/session.h"

namespace longtake::scheduler {

// Every entry changes the sessions under the lock and then pumps: whoever finds nobody pumping carries out all actions
// that lie in the queue, outside the lock, and plans again until nothing is left to do. So the device and the listener
// are called by one thread at a time and in the order of decisions, whatever threads the calls came from.
class Scheduler::Impl : public std::enable_shared_from_this<Scheduler::Impl> {
 public:
  Impl(const Options& options, const Clock* clock, Device* device, Listener* listener)
      : options_(options), clock_(clock), device_(device), listener_(listener) {}

  absl::Status Add(Request request);
  void Cancel(SessionId id, absl::Status why);
  void ChunkDelivered(SessionId id);
  void StopAdmission(absl::Status why);
  void CancelAll(const absl::Status& why);
  Stats stats() const;
  void Stop();

 private:
  struct Batch {
    uint64_t number = 0;
    absl::Duration started;
    std::vector<Pass> passes;
  };

  void Pump() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Plan() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool AdmitOne() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool EndOne() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool TellPositions() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool SubmitOne() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void End(Session& session, absl::Status why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnOpened(SessionId id, const absl::Status& status);
  void OnPassDone(const Batch& batch, size_t index, const PassOutcome& outcome);

  const Options options_;
  const Clock* const clock_;
  Device* const device_;
  Listener* const listener_;

  mutable absl::Mutex mutex_;
  std::map<SessionId, Session> sessions_ ABSL_GUARDED_BY(mutex_);
  std::deque<SessionId> waiting_ ABSL_GUARDED_BY(mutex_);  // oldest first
  std::vector<SessionId> placed_ ABSL_GUARDED_BY(mutex_);  // with a place, or about to have one; in order of admission
  std::deque<SessionId> ending_ ABSL_GUARDED_BY(mutex_);   // end_why set, and no pass under way
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
      sessions_.erase(id);
      std::erase(placed_, id);
    }
    listener_->OnEnded(id, why);
  });
  return true;
}

bool Scheduler::Impl::AdmitOne() {
  if (waiting_.empty() || static_cast<int>(placed_.size()) >= options_.places) return false;
  const SessionId id = waiting_.front();
  waiting_.pop_front();
  positions_changed_ = true;
  placed_.push_back(id);
  sessions_.at(id).state = Session::State::kOpening;
  actions_.push_back([this, id] { OnOpened(id, device_->Open(id)); });
  return true;
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

// First come, first served: live sessions before offline ones, those longest without a pass first, then by admission.
bool Scheduler::Impl::SubmitOne() {
  if (in_flight_ > 0) return false;
  std::vector<std::tuple<bool, uint64_t, size_t>> order;
  for (size_t i = 0; i < placed_.size(); ++i) {
    const Session& session = sessions_.at(placed_[i]);
    if (session.Next(Lane::kDecoder, options_) || session.Next(Lane::kTransformer, options_)) {
      order.emplace_back(session.request().delivery == Delivery::kOffline, session.last_turn, i);
    }
  }
  if (order.empty()) return false;
  std::sort(order.begin(), order.end());

  auto batch = std::make_shared<Batch>();
  batch->number = ++batches_;
  batch->started = clock_->Now();
  for (const auto& [offline, last_turn, i] : order) {
    if (static_cast<int>(batch->passes.size()) == options_.max_batch_passes) break;
    Session& session = sessions_.at(placed_[i]);
    session.last_turn = ++turns_;
    for (Lane lane : {Lane::kDecoder, Lane::kTransformer}) {
      if (static_cast<int>(batch->passes.size()) == options_.max_batch_passes) break;
      const std::optional<PassKind> kind = session.Next(lane, options_);
      if (!kind.has_value()) continue;
      session.Start(*kind);
      batch->passes.push_back({*kind, placed_[i]});
    }
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
  }
  Session& session = sessions_.at(pass.session);
  if (!outcome.status.ok()) {
    session.Abandon(pass.kind);
    if (!session.end_why.has_value()) session.end_why = outcome.status;
  } else {
    PassReport report = session.Finish(pass.kind);
    report.started = batch.started;
    report.ended = now;
    report.device_seconds = outcome.device_seconds;
    actions_.push_back([this, report, id = pass.session] { listener_->OnPass(id, report); });
    if (pass.kind == PassKind::kDecode && report.step == report.steps) {
      actions_.push_back([this, report, id = pass.session] { listener_->OnBlock(id, report.block); });
    }
    if (session.done() && !session.end_why.has_value()) session.end_why = absl::OkStatus();
  }
  if (session.end_why.has_value() && !session.in_flight()) ending_.push_back(pass.session);
  Pump();
}

absl::Status Scheduler::Impl::Add(Request request) {
  absl::MutexLock lock(&mutex_);
  if (!refuse_why_.ok()) return refuse_why_;
  if (request.denoise_steps < 1) return absl::InvalidArgumentError("denoise_steps must be at least 1");
  if (request.block_latents.empty()) return absl::InvalidArgumentError("block_latents is empty");
  for (int latents : request.block_latents) {
    if (latents < 1) return absl::InvalidArgumentError("block_latents has a block without latent frames");
  }
  const SessionId id = request.id;
  if (sessions_.contains(id)) return absl::InvalidArgumentError(absl::StrCat("id ", id, " is in use"));
  // 64 bits: max_waiting may be the largest int, for "any number".
  const int64_t free_places = std::max<int64_t>(0, options_.places - static_cast<int64_t>(placed_.size()));
  if (static_cast<int64_t>(waiting_.size()) >= options_.max_waiting + free_places) {
    return absl::ResourceExhaustedError(absl::StrCat("all ", options_.places, " places are taken and ", waiting_.size(),
                                                     " requests wait, the most that may"));
  }
  sessions_.emplace(id, Session(std::move(request)));
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

void Scheduler::Impl::ChunkDelivered(SessionId id) {
  absl::MutexLock lock(&mutex_);
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return;
  found->second.ChunkDelivered();
  Pump();
}

void Scheduler::Impl::StopAdmission(absl::Status why) {
  absl::MutexLock lock(&mutex_);
  refuse_why_ = std::move(why);
  for (SessionId id : std::vector<SessionId>(waiting_.begin(), waiting_.end())) End(sessions_.at(id), refuse_why_);
  Pump();
}

Stats Scheduler::Impl::stats() const {
  absl::MutexLock lock(&mutex_);
  Stats stats;
  stats.running = static_cast<int>(placed_.size());
  stats.waiting = static_cast<int>(waiting_.size());
  stats.passes_in_flight = in_flight_;
  int fewest = 0;
  for (SessionId id : placed_) {
    const Session& session = sessions_.at(id);
    if (session.Parked(options_)) ++stats.parked;
    fewest = fewest == 0 ? session.passes_left() : std::min(fewest, session.passes_left());
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
void Scheduler::ChunkDelivered(SessionId session) { impl_->ChunkDelivered(session); }
void Scheduler::StopAdmission(absl::Status why) { impl_->StopAdmission(std::move(why)); }
void Scheduler::CancelAll(absl::Status why) { impl_->CancelAll(why); }
Stats Scheduler::stats() const { return impl_->stats(); }

}  // namespace longtake::scheduler
