// The policy that the scheduler uses unless it is given another. README.md, "Batches", says what it does and promises.
#ifndef LONGTAKE_SCHEDULER_SLACK_POLICY_H_
#define LONGTAKE_SCHEDULER_SLACK_POLICY_H_

#include <vector>

#include "scheduler/policy.h"

namespace longtake::scheduler {

class SlackPolicy : public Policy {
 public:
  std::vector<size_t> Compose(const Situation& situation, const std::vector<Candidate>& candidates) override;
};

// The order in which live candidates are offered a place in the batch: the earliest due first; in overload by value
// (README.md, "Batches", rule 1).
std::vector<size_t> LiveOrder(const Situation& situation, const std::vector<Candidate>& candidates);

}  // namespace longtake::scheduler

#endif  // LONGTAKE_SCHEDULER_SLACK_POLICY_H_
