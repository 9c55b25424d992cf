// Simulated time, which jumps from event to event.
#ifndef LONGTAKE_BENCH_SERVING_EVENT_LOOP_H_
#define LONGTAKE_BENCH_SERVING_EVENT_LOOP_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "common/clock.h"

namespace longtake::bench {

// Of equal times, the event that was asked for first comes first.
class EventLoop : public Clock {
 public:
  absl::Duration Now() const override { return absl::Seconds(now_); }
  double now() const { return now_; }
  void At(double when, std::function<void()> what) {
    events_.push_back({std::max(when, now_), ++asked_, std::move(what)});
    std::push_heap(events_.begin(), events_.end());
  }
  // The moment of the next event; infinite: there is none.
  absl::Duration next() const {
    return events_.empty() ? absl::InfiniteDuration() : absl::Seconds(events_.front().when);
  }
  // To a moment before the next event.
  void AdvanceTo(absl::Duration now) { now_ = std::max(now_, absl::ToDoubleSeconds(now)); }
  // False when there is nothing to come.
  bool Step() {
    if (events_.empty()) return false;
    std::pop_heap(events_.begin(), events_.end());
    const Event event = std::move(events_.back());
    events_.pop_back();
    now_ = event.when;
    event.what();
    return true;
  }

 private:
  struct Event {
    double when = 0;
    uint64_t number = 0;
    std::function<void()> what;
    bool operator<(const Event& other) const { return std::pair(when, number) > std::pair(other.when, other.number); }
  };
  double now_ = 0;
  uint64_t asked_ = 0;
  std::vector<Event> events_;  // a heap
};

}  // namespace longtake::bench

#endif  // LONGTAKE_BENCH_SERVING_EVENT_LOOP_H_
