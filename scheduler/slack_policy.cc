#include "scheduler/slack_policy.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <queue>
#include <tuple>
#include <utility>

namespace longtake::scheduler {
namespace {

// A newcomer would wait for a longer batch. Where newcomers wait for the device anyway, the last 5 % are what they wait
// for.
constexpr double kLongestInFixed = CostModel::kLongestInFixed, kLongestWhileOneWaits = 60;
// Where the model takes the fixed time for nothing, every batch would be of one pass, and it would never learn better.
// So each 16th batch may hold two passes, whatever the slack.
constexpr uint64_t kExploreEvery = 16;

class Batch {
 public:
  Batch(const Situation& situation, const std::vector<Candidate>& candidates)
      : situation_(situation), candidates_(candidates), free_(situation.cost->learned() ? 1 : candidates.size()) {
    for (const Candidate& candidate : candidates) hurried_ += IsHurried(candidate) ? 1 : 0;
  }

  bool empty() const { return picks_.empty(); }
  bool full() const { return static_cast<int>(picks_.size()) >= situation_.max_passes; }
  std::vector<size_t> picks() && { return std::move(picks_); }

  // Takes the pass where nobody in the batch would come late by it; the first always.
  bool Offer(size_t i) {
    const Candidate& candidate = candidates_[i];
    const double fixed = situation_.cost->fixed();
    const double marginal = situation_.cost->Marginal(candidate.kind, candidate.tokens);
    const double seconds = (picks_.empty() ? fixed : seconds_) + marginal;
    if (picks_.empty()) {
      // Not at the cost of a first chunk, which somebody waits for.
      if (situation_.batch % kExploreEvery == kExploreEvery / 2 && (!candidate.live || candidate.started)) {
        free_ = std::max<size_t>(free_, 2);
      }
      longest_ = std::max(seconds, (situation_.live_waiting > 0 ? kLongestWhileOneWaits : kLongestInFixed) * fixed);
    }
    const double bound = IsHurried(candidate) && Gains(marginal) ? longest_
                         : candidate.live                        ? std::min(longest_, bound_)
                                                                 : std::min(longest_, offline_bound_);
    if (picks_.size() >= free_ && seconds > bound) return false;
    picks_.push_back(i);
    seconds_ = seconds;
    const bool first = candidate.live && !candidate.started;
    if (first) ++firsts_;
    // For a first chunk somebody waits: what it could bear is not spent, unless on those who wait for the device.
    const double spare = first && situation_.live_waiting == 0 ? 0 : std::max(Share(candidate), Room());
    bound_ = std::min(bound_, fixed + marginal + spare);
    offline_bound_ = std::min(offline_bound_, fixed + marginal + std::max(0.0, Share(candidate)));
    return true;
  }

 private:
  double Room() const { return SlackPolicy::kRoomInFixed * situation_.cost->fixed(); }
  // Of the slack, a pass may spend its part: there are passes_to_chunk of them before the chunk is needed.
  static double Share(const Candidate& candidate) {
    return candidate.live ? candidate.slack / candidate.passes_to_chunk : std::numeric_limits<double>::infinity();
  }
  // Without slack for the company that others may bring, and short enough that sharing its batch gains something.
  bool IsHurried(const Candidate& candidate) const {
    return Share(candidate) < Room() && situation_.cost->Marginal(candidate.kind, candidate.tokens) < Room();
  }
  // Among those who hurry: one more pass holds up each first chunk that is in the batch already, and spares all behind
  // them the fixed part of a batch of its own. Who plays already has lost nothing until its chunk is due.
  bool Gains(double marginal) const {
    const auto behind = static_cast<double>(hurried_ + situation_.live_waiting) - static_cast<double>(picks_.size());
    return firsts_ == 0 || marginal * firsts_ < situation_.cost->fixed() * behind;
  }

  const Situation& situation_;
  const std::vector<Candidate>& candidates_;
  size_t free_;         // so many passes are not measured against any bound
  size_t hurried_ = 0;  // of the candidates
  std::vector<size_t> picks_;
  int firsts_ = 0;                                          // of the picks: for a first chunk
  double seconds_ = 0;                                      // predicted
  double longest_ = 0;                                      // of any batch
  double bound_ = std::numeric_limits<double>::infinity();  // what the tightest stream can bear
  double offline_bound_ = std::numeric_limits<double>::infinity();
};

// The live passes that can go into a batch: the earliest due first, of equals the one whose turn is longest ago.
std::vector<size_t> LiveOrder(const Situation& situation, const std::vector<Candidate>& candidates) {
  std::vector<size_t> live;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (candidates[i].live) live.push_back(i);
  }
  // No more than max_passes of them can go, and a turn may be among those.
  const size_t needed = std::min(live.size(), static_cast<size_t>(situation.max_passes) + 1);
  std::partial_sort(live.begin(), live.begin() + static_cast<std::ptrdiff_t>(needed), live.end(),
                    [&](size_t a, size_t b) {
                      const Candidate &x = candidates[a], &y = candidates[b];
                      return std::tie(x.due, x.last_turn, a) < std::tie(y.due, y.last_turn, b);
                    });
  live.resize(needed);
  return live;
}

// Weighted fair share between tenants; within one by priority, then by admission.
void OfferOffline(const Situation& situation, const std::vector<Candidate>& candidates, size_t taken, Batch& batch) {
  std::vector<size_t> offline;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (!candidates[i].live) offline.push_back(i);
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

std::vector<size_t> SlackPolicy::Compose(const Situation& situation, const std::vector<Candidate>& candidates) {
  Batch batch(situation, candidates);
  size_t taken = candidates.size();  // none
  if (situation.batch % kTurnEvery == 0) {
    const auto longest = std::max_element(candidates.begin(), candidates.end(),
                                          [](const auto& a, const auto& b) { return a.waited < b.waited; });
    if (longest->waited >= kTurnEvery) {
      taken = static_cast<size_t>(longest - candidates.begin());
      batch.Offer(taken);
    }
  }
  for (size_t i : LiveOrder(situation, candidates)) {
    if (batch.full()) break;
    if (i != taken) batch.Offer(i);
  }
  // Where a live request waits for the device, nothing is left of it.
  if (!batch.full() && (situation.live_waiting == 0 || batch.empty()))
    OfferOffline(situation, candidates, taken, batch);
  return std::move(batch).picks();
}

}  // namespace longtake::scheduler
