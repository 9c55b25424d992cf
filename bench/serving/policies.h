// The policies that ours is compared with, each in its best form: the same passes, admission and cost model, live
// before offline, and batches of the length that ours allows itself.
#ifndef LONGTAKE_BENCH_SERVING_POLICIES_H_
#define LONGTAKE_BENCH_SERVING_POLICIES_H_

#include <memory>
#include <string>
#include <vector>

#include "scheduler/policy.h"

namespace longtake::bench {

// "ours", "fcfs", "round_robin", "edf", "equal_shape", "slackserve_queues".
const std::vector<std::string>& PolicyNames();

// Null: there is none of this name.
std::shared_ptr<scheduler::Policy> MakePolicy(const std::string& name);

}  // namespace longtake::bench

#endif  // LONGTAKE_BENCH_SERVING_POLICIES_H_
