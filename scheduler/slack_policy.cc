#include "scheduler/slack_policy.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <queue>
#include <tuple>
#include <utility>

namespace longtake::scheduler {
namespace {

// Batching gains by sharing a batch's fixed time; at 20 times that, 5 % of the batch are left to gain, and a newcomer
// would wait for it.
constexpr double kLongestInFixed = 20;
// Even where a stream is late: at 4 times the fixed time a fifth of the device is lost, and a device that loses more
// when it is overloaded never recovers.
constexpr double kShortestInFixed = 4;
// Where the model takes the fixed time for nothing, every batch would be of one pass, and it would never learn better.
// So each 16th batch may hold this many passes, and two whatever the slack.
constexpr size_t kExplore = 8;

class Batch {
 public:
  Batch(const Situation& situation, const std::vector<Candidate>& candidates)
      : situation_(situation),
        candidates_(candidates),
        learned_(situation.cost->learned()),
        explores_(situation.batch % SlackPolicy::kTurnEvery == SlackPolicy::kTurnEvery / 2) {}

  bool full() const { return static_cast<int>(picks_.size()) >= situation_.max_passes; }
  std::vector<size_t> picks() && { return std::move(picks_); }

  // Takes the pass where nobody in the batch would come late by it; the first always.
  bool Offer(size_t i) {
    const Candidate& candidate = candidates_[i];
    const double marginal = situation_.cost->Marginal(candidate.kind, candidate.tokens);
    const double fixed = situation_.cost->fixed();
    double bound = std::numeric_limits<double>::infinity();
    if (learned_) {
      // Of the slack, a pass may spend its part: there are passes_to_chunk of them before the chunk is needed.
      const double room = candidate.live
                              ? std::max(candidate.slack / candidate.passes_to_chunk, (kShortestInFixed - 1) * fixed)
                              : std::numeric_limits<double>::infinity();
      bound = fixed + marginal + room;
      if (picks_.empty()) longest_ = std::max(fixed + marginal, kLongestInFixed * fixed);
    }
    const double seconds = (picks_.empty() ? fixed : seconds_) + marginal;
    const bool explored = explores_ && picks_.size() < kExplore;
    const double longest = explored ? std::numeric_limits<double>::infinity() : longest_;
    const bool fits = picks_.empty() || !learned_ || (explored && picks_.size() < 2);
    if (!fits && seconds > std::min({bound, bound_, longest})) return false;
    picks_.push_back(i);
    seconds_ = seconds;
    bound_ = std::min(bound_, bound);
    return true;
  }

 private:
  const Situation& situation_;
  const std::vector<Candidate>& candidates_;
  const bool learned_, explores_;
  std::vector<size_t> picks_;
  double seconds_ = 0;                                        // predicted
  double bound_ = std::numeric_limits<double>::infinity();    // the tightest stream's
  double longest_ = std::numeric_limits<double>::infinity();  // of any batch
};

// Weighted fair share between tenants; within one by priority, then by admission.
void OfferOffline(const Situation& situation, const std::vector<Candidate>& candidates, std::vector<size_t> offline,
                  size_t taken, Batch& batch) {
  std::sort(offline.begin(), offline.end(), [&](size_t a, size_t b) {
    const Candidate &x = candidates[a], &y = candidates[b];
    return std::tuple(x.tenant, -x.priority, x.order, a) < std::tuple(y.tenant, -y.priority, y.order, b);
  });
  // The tenant with the least time is served next, and its time grows by what it was given.
  using Turn = std::tuple<double, size_t>;  // time, position in `offline`
  std::priority_queue<Turn, std::vector<Turn>, std::greater<>> turns;
  for (size_t i = 0; i < offline.size(); ++i) {
    const Candidate& candidate = candidates[offline[i]];
    if (i == 0 || candidates[offline[i - 1]].tenant != candidate.tenant) turns.emplace(candidate.tenant_time, i);
  }
  while (!turns.empty() && !batch.full()) {
    auto [time, i] = turns.top();
    turns.pop();
    const Candidate& candidate = candidates[offline[i]];
    if (offline[i] != taken && batch.Offer(offline[i])) {
      time += situation.cost->Alone(candidate.kind, candidate.tokens) / candidate.tenant_weight;
    }
    if (i + 1 < offline.size() && candidates[offline[i + 1]].tenant == candidate.tenant) turns.emplace(time, i + 1);
  }
}

}  // namespace

std::vector<size_t> SlackPolicy::Compose(const Situation& situation, const std::vector<Candidate>& candidates) {
  Batch batch(situation, candidates);
  std::vector<size_t> live, offline;
  size_t longest_ago = 0;
  for (size_t i = 0; i < candidates.size(); ++i) {
    (candidates[i].live ? live : offline).push_back(i);
    if (candidates[i].last_turn < candidates[longest_ago].last_turn) longest_ago = i;
  }
  size_t taken = candidates.size();  // none
  if (situation.batch % kTurnEvery == 0) {
    taken = longest_ago;
    batch.Offer(taken);
  }
  const auto tighter = [&](size_t a, size_t b) {
    const Candidate &x = candidates[a], &y = candidates[b];
    return std::tuple(x.slack, x.last_turn, a) < std::tuple(y.slack, y.last_turn, b);
  };
  // No more than max_passes of them can go, so only so many need an order.
  const size_t ordered = std::min(live.size(), static_cast<size_t>(situation.max_passes) + 1);
  std::partial_sort(live.begin(), live.begin() + static_cast<std::ptrdiff_t>(ordered), live.end(), tighter);
  for (size_t i = 0; i < ordered && !batch.full(); ++i) {
    if (live[i] != taken) batch.Offer(live[i]);
  }
  if (!batch.full()) OfferOffline(situation, candidates, std::move(offline), taken, batch);
  return std::move(batch).picks();
}

}  // namespace longtake::scheduler
