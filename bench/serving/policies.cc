#include "bench/serving/policies.h"

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>
#include <utility>

#include "scheduler/slack_policy.h"
#include "scheduler/tuning.h"

namespace longtake::bench {
namespace {

using scheduler::Candidate;
using scheduler::Situation;

// The least goes first; equal ones in order of admission.
using Key = std::array<double, 2>;
using KeyOf = std::function<Key(const Candidate&)>;

class KeyPolicy : public scheduler::Policy {
 public:
  KeyPolicy(KeyOf key, bool equal_shape) : key_(std::move(key)), equal_shape_(equal_shape) {}

  std::vector<size_t> Compose(const Situation& situation, const std::vector<Candidate>& candidates) override {
    std::vector<size_t> order(candidates.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      const Candidate &x = candidates[a], &y = candidates[b];
      if (x.live != y.live) return x.live;
      return x.live ? key_(x) < key_(y) : x.tenant_time < y.tenant_time;
    });
    if (situation.turn.has_value()) {
      const auto turn = std::find(order.begin(), order.end(), *situation.turn);
      std::rotate(order.begin(), turn, turn + 1);
    }
    const Candidate& first = candidates[order[0]];
    const double fixed = situation.cost->fixed();
    const double longest =
        std::max(situation.cost->Alone(first.kind, first.tokens), scheduler::tuning::kLongestInFixed * fixed);
    double seconds = fixed;
    std::vector<size_t> picks;
    for (size_t i : order) {
      const Candidate& next = candidates[i];
      if (static_cast<int>(picks.size()) == situation.max_passes) break;
      if (equal_shape_ && (next.kind != first.kind || next.tokens != first.tokens)) continue;
      seconds += situation.cost->Marginal(next.kind, next.tokens);
      // Each sixteenth batch may hold two, as ours, so that the cost model learns what sharing a batch gains.
      const size_t free = situation.batch % scheduler::tuning::kExploreEvery == 8 ? 2 : 1;
      if (picks.size() >= free && situation.learned && seconds > longest) break;
      picks.push_back(i);
    }
    return picks;
  }

 private:
  const KeyOf key_;
  const bool equal_shape_;
};

Key Arrival(const Candidate& c) { return {static_cast<double>(c.order), 0}; }
Key LastTurn(const Candidate& c) { return {static_cast<double>(c.last_turn), 0}; }
Key Deadline(const Candidate& c) { return {c.due, 0}; }

KeyOf ThreeQueues(double block_seconds) {
  return [block_seconds](const Candidate& c) -> Key {
    const double queue = c.slack < block_seconds ? 0 : c.slack < 3 * block_seconds ? 1 : 2;
    return {queue, static_cast<double>(c.order)};
  };
}

}  // namespace

const std::vector<std::string>& PolicyNames() {
  static const auto& names =
      *new std::vector<std::string>{"ours", "edf", "slackserve_queues", "round_robin", "fcfs", "equal_shape"};
  return names;
}

std::shared_ptr<scheduler::Policy> MakePolicy(const std::string& name, double block_seconds) {
  if (name == "ours") return std::make_shared<scheduler::SlackPolicy>();
  if (name == "fcfs") return std::make_shared<KeyPolicy>(Arrival, false);
  if (name == "round_robin") return std::make_shared<KeyPolicy>(LastTurn, false);
  if (name == "edf") return std::make_shared<KeyPolicy>(Deadline, false);
  if (name == "equal_shape") return std::make_shared<KeyPolicy>(Arrival, true);
  if (name == "slackserve_queues") return std::make_shared<KeyPolicy>(ThreeQueues(block_seconds), false);
  return nullptr;
}

}  // namespace longtake::bench
