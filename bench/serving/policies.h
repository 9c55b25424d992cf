// The policies that ours is compared with, each in its best form: the same passes, admission and cost model, live
// before offline, and batches of the length that ours allows itself.
#ifndef LONGTAKE_BENCH_SERVING_POLICIES_H_
#define LONGTAKE_BENCH_SERVING_POLICIES_H_

#include <memory>
#include <string>
#include <vector>

#include "scheduler/policy.h"

namespace longtake::bench {

// "ours": scheduler::SlackPolicy, what the server runs.
// "edf": the earliest due first.
// "slackserve_queues": the order in which SlackServe (arXiv 2606.15319) serves streams: three queues by slack, below
// one
//   block's duration, below three, above; first come first served in each. Its re-homing, sequence parallelism and
//   fidelity for each chunk are not here, so its published gains are not either.
// "round_robin": by the last turn. "fcfs": by admission. "equal_shape": by admission, passes of one kind and size only.
const std::vector<std::string>& PolicyNames();

// `block_seconds`: a block's duration, which slackserve_queues counts in. Null: there is none of this name.
std::shared_ptr<scheduler::Policy> MakePolicy(const std::string& name, double block_seconds);

}  // namespace longtake::bench

#endif  // LONGTAKE_BENCH_SERVING_POLICIES_H_
