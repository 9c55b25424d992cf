#include "server/listen/connection_table.h"

#include <map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/mutex.h"

namespace longtake::server {
namespace {

// Whoever has closed a connection for another waits so long, since the closed one's descriptors are free a little
// later: a flood would use up the others meanwhile. So 500 connections a second can push others out.
constexpr absl::Duration kPause = absl::Milliseconds(2);

}  // namespace

struct ConnectionTable::Entry::State {
  std::shared_ptr<Shared> shared;
  std::string address;
  std::function<void()> close;
  uint64_t idle_since = 0;  // a number of Shared::turns; 0: it is busy, or is being closed
  bool counted = true;      // false: it is being closed
};

struct ConnectionTable::Shared {
  // The idle ones, the one that has been so for longest first.
  using Idle = std::map<uint64_t, Entry::State*>;
  struct Address {
    int open = 0;
    Idle idle;
  };

  explicit Shared(const ConnectionLimits& most) : limits(most) {}
  void SetIdle(Entry::State& state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    state.idle_since = ++turns;
    idle[state.idle_since] = addresses[state.address].idle[state.idle_since] = &state;
  }
  void SetBusy(Entry::State& state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    if (state.idle_since == 0) return;
    idle.erase(state.idle_since);
    addresses[state.address].idle.erase(state.idle_since);
    state.idle_since = 0;
  }
  void Uncount(Entry::State& state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    if (!std::exchange(state.counted, false)) return;
    SetBusy(state);
    --counts.open;
    if (const auto found = addresses.find(state.address); --found->second.open == 0) addresses.erase(found);
  }

  const ConnectionLimits limits;
  mutable Mutex mutex;
  uint64_t turns ABSL_GUARDED_BY(mutex) = 0;
  Idle idle ABSL_GUARDED_BY(mutex);
  std::map<std::string, Address> addresses ABSL_GUARDED_BY(mutex);  // of open connections
  Counts counts ABSL_GUARDED_BY(mutex);
};

ConnectionTable::ConnectionTable(const ConnectionLimits& limits) : shared_(std::make_shared<Shared>(limits)) {}
ConnectionTable::~ConnectionTable() = default;

std::unique_ptr<ConnectionTable::Entry> ConnectionTable::Enter(const std::string& address,
                                                               std::function<void()> close) {
  auto state = std::make_unique<Entry::State>();
  state->shared = shared_;
  state->address = address;
  state->close = std::move(close);
  Shared& shared = *shared_;
  std::function<void()> close_other;
  {
    const MutexLock lock(shared.mutex);
    const auto found = shared.addresses.find(address);
    const bool too_many_of_it = shared.limits.by_address > 0 && !address.empty() && found != shared.addresses.end() &&
                                found->second.open >= shared.limits.by_address;
    if (too_many_of_it || shared.counts.open >= shared.limits.all) {
      const Shared::Idle& idle = too_many_of_it ? found->second.idle : shared.idle;
      if (idle.empty()) {
        ++shared.counts.turned_away;
        return nullptr;
      }
      Entry::State& longest = *idle.begin()->second;
      close_other = longest.close;
      shared.Uncount(longest);
      ++shared.counts.closed;
    }
    ++shared.counts.open;
    ++shared.addresses[address].open;
    shared.SetIdle(*state);
  }
  if (close_other != nullptr) {
    close_other();
    absl::SleepFor(kPause);
  }
  return std::unique_ptr<Entry>(new Entry(std::move(state)));
}

ConnectionTable::Counts ConnectionTable::counts() const {
  const MutexLock lock(shared_->mutex);
  return shared_->counts;
}

ConnectionTable::Entry::Entry(std::unique_ptr<State> state) : state_(std::move(state)) {}

ConnectionTable::Entry::~Entry() {
  Shared& shared = *state_->shared;
  const MutexLock lock(shared.mutex);
  shared.Uncount(*state_);
}

void ConnectionTable::Entry::SetBusy(bool busy) {
  Shared& shared = *state_->shared;
  const MutexLock lock(shared.mutex);
  if (!state_->counted || busy == (state_->idle_since == 0)) return;
  busy ? shared.SetBusy(*state_) : shared.SetIdle(*state_);
}

}  // namespace longtake::server
