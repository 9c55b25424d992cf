// The policy that the scheduler uses unless it is given another. README.md, "Batches", says what it does and promises.
#ifndef LONGTAKE_SCHEDULER_SLACK_POLICY_H_
#define LONGTAKE_SCHEDULER_SLACK_POLICY_H_

#include <vector>

#include "scheduler/policy.h"

namespace longtake::scheduler {

class SlackPolicy : public Policy {
 public:
  // Each batch whose number is a multiple of it begins with the pass whose session has waited longest, if that is for
  // so many batches at least.
  static constexpr uint64_t kTurnEvery = 64;
  // A pass that has no slack still shares its batch with relaxed ones, until it takes so many fixed times more than
  // alone: then the device loses a quarter of itself at most. Not if it is for a first chunk.
  static constexpr double kRoomInFixed = 3;

  std::vector<size_t> Compose(const Situation& situation, const std::vector<Candidate>& candidates) override;
};

}  // namespace longtake::scheduler

#endif  // LONGTAKE_SCHEDULER_SLACK_POLICY_H_
