// The policy that the scheduler uses unless it is given another. README.md, "Batches", says what it does and promises.
#ifndef LONGTAKE_SCHEDULER_SLACK_POLICY_H_
#define LONGTAKE_SCHEDULER_SLACK_POLICY_H_

#include <vector>

#include "scheduler/policy.h"

namespace longtake::scheduler {

class SlackPolicy : public Policy {
 public:
  // Each batch whose number is a multiple of it begins with the pass whose session's last turn is longest ago.
  static constexpr uint64_t kTurnEvery = 16;

  std::vector<size_t> Compose(const Situation& situation, const std::vector<Candidate>& candidates) override;
};

}  // namespace longtake::scheduler

#endif  // LONGTAKE_SCHEDULER_SLACK_POLICY_H_
