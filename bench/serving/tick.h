// What a scheduling decision costs in processor time.
#ifndef LONGTAKE_BENCH_SERVING_TICK_H_
#define LONGTAKE_BENCH_SERVING_TICK_H_

namespace longtake::bench {

// Mean over a hundred ticks with so many running sessions, half of them offline, of five tenants: from the completion
// of a batch of 64 passes until the next one is submitted.
double TickMicroseconds(int sessions);

}  // namespace longtake::bench

#endif  // LONGTAKE_BENCH_SERVING_TICK_H_
