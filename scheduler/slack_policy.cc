#include "scheduler/slack_policy.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <queue>
#include <tuple>
#include <utility>

#include "scheduler/tuning.h"

namespace longtake::scheduler {
namespace {

class Batch {
 public:
  Batch(const Situation& situation, const std::vector<Candidate>& candidates)
      : situation_(situation), candidates_(candidates), free_(situation.learned ? 1 : candidates.size()) {
    for (const Candidate& candidate : candidates) hurried_ += IsHurried(candidate) ? 1 : 0;
  }

  bool empty() const { return picks_.empty(); }
  // Nothing more goes in: it holds as many passes as it may, or a pass did not fit.
  bool full() const { return closed_ || static_cast<int>(picks_.size()) >= situation_.max_passes; }
  std::vector<size_t> picks() && { return std::move(picks_); }

  // Takes the pass if nobody in the batch would come late by it; the first one always. A live pass that does not fit
  // closes the batch: whatever went in behind it would go before it though it is due later, and admission, which counts
  // on the earliest due first, does not count that. Where batches were filled up with what fitted, at twice the load
  // that the device carries, 12 to 20 of a hundred viewers who came stalled; now none.
  bool Offer(size_t i) {
    const Candidate& candidate = candidates_[i];
    const double fixed = situation_.cost->fixed();
    const double marginal = situation_.cost->Marginal(candidate.kind, candidate.tokens);
    const double seconds = (picks_.empty() ? fixed : seconds_) + marginal;
    if (picks_.empty()) {
      // Not at the cost of a first chunk, which somebody waits for.
      if (situation_.batch % tuning::kExploreEvery == tuning::kExploreEvery / 2 &&
          (!candidate.live || candidate.started)) {
        free_ = std::max<size_t>(free_, 2);
      }
      longest_ = std::max(seconds, tuning::kLongestInFixed * fixed);
    }
    const double bound = IsHurried(candidate) && Gains(marginal) ? longest_
                         : candidate.live                        ? std::min(longest_, bound_)
                                                                 : std::min(longest_, offline_bound_);
    if (picks_.size() >= free_ && seconds > bound) {
      closed_ = candidate.live;
      return false;
    }
    picks_.push_back(i);
    seconds_ = seconds;
    const bool first = candidate.live && !candidate.started;
    if (first) ++firsts_;
    // Somebody waits for a first chunk: what slack it has is not spent, unless on those who wait for the device.
    const double spare = first && situation_.live_waiting == 0 ? 0 : std::max(Share(candidate), Room());
    bound_ = std::min(bound_, fixed + marginal + spare);
    offline_bound_ = std::min(offline_bound_, fixed + marginal + std::max(0.0, Share(candidate)));
    return true;
  }

 private:
  double Room() const { return tuning::kRoomInFixed * situation_.cost->fixed(); }
  // The part of its slack that a pass may spend: there are passes_to_chunk of them before the chunk is needed.
  static double Share(const Candidate& candidate) {
    return candidate.live ? candidate.slack / candidate.passes_to_chunk : std::numeric_limits<double>::infinity();
  }
  // Without slack for the company that others may bring, and short enough that sharing its batch gains something.
  bool IsHurried(const Candidate& candidate) const {
    return Share(candidate) < Room() && situation_.cost->Marginal(candidate.kind, candidate.tokens) < Room();
  }
  // Whether a hurried pass gains more than it costs: it holds up each first chunk that is in the batch already by its
  // own time, and spares everybody who hurries behind it the fixed part of a batch of its own. A stream that plays
  // loses nothing until its chunk is due.
  bool Gains(double marginal) const {
    const auto behind = static_cast<double>(hurried_ + situation_.live_waiting) - static_cast<double>(picks_.size());
    return firsts_ == 0 || marginal * firsts_ < situation_.cost->fixed() * behind;
  }

  const Situation& situation_;
  const std::vector<Candidate>& candidates_;
  bool closed_ = false;
  size_t free_;         // so many passes are not measured against any bound
  size_t hurried_ = 0;  // of the candidates
  std::vector<size_t> picks_;
  int firsts_ = 0;                                          // of the picks: for a first chunk
  double seconds_ = 0;                                      // predicted
  double longest_ = 0;                                      // of any batch
  double bound_ = std::numeric_limits<double>::infinity();  // what the tightest stream can bear
  double offline_bound_ = std::numeric_limits<double>::infinity();
};

// Those whose place is wanted; then weighted fair share between tenants, within one by priority, then by admission.
void OfferOffline(const Situation& situation, const std::vector<Candidate>& candidates, size_t taken, Batch& batch) {
  std::vector<size_t> offline;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (candidates[i].live) continue;
    if (!candidates[i].yields) {
      offline.push_back(i);
    } else if (i != taken && !batch.full()) {
      batch.Offer(i);
    }
  }
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

std::vector<size_t> LiveOrder(const Situation& situation, const std::vector<Candidate>& candidates) {
  if (!situation.crowded) return situation.by_due;
  // A viewer is lost by the first stall and not lost again, so streams that can be in time come first, and of them
  // those that never stalled. Who waits for a first chunk looks at an empty picture, and counts with them. So does who
  // would stall for the first time in a burst: if the load is not too much, all that are late by a little catch up.
  std::vector<size_t> unstalled, stalled, late;
  double spare = std::numeric_limits<double>::infinity(), done = situation.now, longest = 0;
  for (size_t i : situation.by_due) {
    const Candidate& candidate = candidates[i];
    longest = std::max(longest, situation.cost->Alone(candidate.kind, candidate.tokens));
    if (candidate.started && candidate.slack < 0 && (candidate.stalled || situation.overloaded)) {
      late.push_back(i);
      continue;
    }
    (candidate.stalled ? stalled : unstalled).push_back(i);
    done += candidate.lane_seconds;
    if (candidate.started) spare = std::min(spare, candidate.due - done);
  }
  // Late ones still go first as far as nobody else becomes late by it, a pass that cannot be interrupted included.
  spare -= longest;
  std::vector<size_t> order;
  for (size_t i : late) {
    if (candidates[i].lane_seconds > spare) continue;
    spare -= candidates[i].lane_seconds;
    order.push_back(i);
  }
  const size_t first = order.size();
  order.insert(order.end(), unstalled.begin(), unstalled.end());
  order.insert(order.end(), stalled.begin(), stalled.end());
  for (size_t i : late) {
    if (std::find(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(first), i) ==
        order.begin() + static_cast<std::ptrdiff_t>(first)) {
      order.push_back(i);
    }
  }
  return order;
}

std::vector<size_t> SlackPolicy::Compose(const Situation& situation, const std::vector<Candidate>& candidates) {
  Batch batch(situation, candidates);
  const size_t taken = situation.turn.value_or(candidates.size());
  if (situation.turn.has_value()) batch.Offer(taken);
  for (size_t i : LiveOrder(situation, candidates)) {
    if (batch.full()) break;
    if (i != taken) batch.Offer(i);
  }
  // Where a live request waits for the device, offline passes get none of it.
  if (!batch.full() && (situation.live_waiting == 0 || batch.empty())) {
    OfferOffline(situation, candidates, taken, batch);
  }
  return std::move(batch).picks();
}

}  // namespace longtake::scheduler
