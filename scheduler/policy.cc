#include "scheduler/policy.h"

#include <algorithm>
#include <tuple>

namespace longtake::scheduler {

std::vector<size_t> ByDue(const std::vector<Candidate>& candidates) {
  std::vector<size_t> live;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (candidates[i].live) live.push_back(i);
  }
  std::sort(live.begin(), live.end(), [&](size_t a, size_t b) {
    const Candidate &x = candidates[a], &y = candidates[b];
    return std::tie(x.due, x.last_turn, a) < std::tie(y.due, y.last_turn, b);
  });
  return live;
}

bool Crowded(const Situation& situation, const std::vector<Candidate>& candidates) {
  if (!situation.learned) return false;
  // The longest pass may come in between: nothing interrupts it.
  double done = situation.now;
  for (size_t i : situation.by_due) {
    done = std::max(done, situation.now + situation.cost->Alone(candidates[i].kind, candidates[i].tokens));
  }
  for (size_t i : situation.by_due) {
    const Candidate& candidate = candidates[i];
    done += candidate.lane_seconds;
    if (candidate.started && candidate.slack >= 0 && done > candidate.due) return true;
  }
  return false;
}

}  // namespace longtake::scheduler
