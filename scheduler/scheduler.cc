#include "scheduler/scheduler.h"

#include <cassert>
#include <future>
#include <utility>

#include "scheduler/core.h"

namespace longtake::scheduler {

Scheduler::Scheduler(const Options& options, Loop* loop, Device* device, Listener* listener)
    : loop_(loop), core_(std::make_unique<Core>(options, loop, device, listener)) {
  loop_->Call([this] { loop_->SetTurn([this] { return core_->Turn(); }); });
}

Scheduler::~Scheduler() {
  std::promise<void> stopped;
  loop_->Call([&] { core_->Stop([&] { stopped.set_value(); }); });
  const std::future<void> future = stopped.get_future();
  assert(loop_->has_thread() || future.wait_for(std::chrono::seconds(0)) == std::future_status::ready);
  if (loop_->has_thread()) future.wait();
  loop_->Call([this] { loop_->SetTurn(nullptr); });
}

void Scheduler::Enter(Request request, std::function<void(const Quote&)> done) {
  loop_->Post([this, request = std::move(request), done = std::move(done)]() mutable {
    done(core_->Enter(std::move(request)));
    core_->Settle();
  });
}

Quote Scheduler::Enter(Request request) {
  Quote quote;
  loop_->Call([&] {
    quote = core_->Enter(std::move(request));
    core_->Settle();
  });
  return quote;
}

void Scheduler::GetQuote(Request request, std::function<void(const Quote&)> done) {
  loop_->Post([this, request = std::move(request), done = std::move(done)] { done(core_->GetQuote(request)); });
}

Quote Scheduler::GetQuote(Request request) {
  Quote quote;
  loop_->Call([&] { quote = core_->GetQuote(request); });
  return quote;
}

void Scheduler::Cancel(SessionId session, absl::Status why) {
  loop_->Post([this, session, why = std::move(why)] { core_->Cancel(session, why); });
}

void Scheduler::ChangePrompt(SessionId session, int block, std::function<void(absl::StatusOr<PromptPlace>)> done) {
  loop_->Post([this, session, block, done = std::move(done)] { done(core_->ChangePrompt(session, block)); });
}

absl::StatusOr<Scheduler::PromptPlace> Scheduler::ChangePrompt(SessionId session, int block) {
  absl::StatusOr<PromptPlace> place;
  loop_->Call([&] { place = core_->ChangePrompt(session, block); });
  return place;
}

void Scheduler::Delivered(SessionId session, absl::Duration until) {
  loop_->Post([this, session, until] { core_->Delivered(session, until); });
}

void Scheduler::Consumed(SessionId session, absl::Duration position, bool paused) {
  loop_->Post([this, session, position, paused] { core_->Consumed(session, position, paused); });
}

void Scheduler::StopAdmission(absl::Status why) {
  loop_->Post([this, why = std::move(why)] { core_->StopAdmission(why); });
}

void Scheduler::CancelAll(absl::Status why) {
  loop_->Post([this, why = std::move(why)] { core_->CancelAll(why); });
}

void Scheduler::GetStats(std::function<void(const Stats&)> done) const {
  loop_->Post([this, done = std::move(done)] { done(core_->stats()); });
}

Stats Scheduler::stats() const {
  Stats stats;
  loop_->Call([&] { stats = core_->stats(); });
  return stats;
}

}  // namespace longtake::scheduler
