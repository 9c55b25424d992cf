#include "engine/core/thread_pool.h"

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace longtake {
namespace {

class ThreadPoolTest : public testing::TestWithParam<int> {};

// Loops of every size behind one another, with and without time to fall asleep between them: each task runs once, on a
// thread that exists, and all are done when the loop returns.
TEST_P(ThreadPoolTest, RunsEachTaskOnce) {
  ThreadPool pool(GetParam());
  EXPECT_EQ(pool.threads(), GetParam());
  for (int round = 0; round < 300; ++round) {
    const int64_t tasks = round % 37;
    std::vector<int> runs(tasks, 0);  // plain: a task that ran twice, or after the loop's end, is a race
    std::atomic<int> strange{0};
    pool.ParallelFor(tasks, [&](int64_t task, int thread) {
      ++runs[task];
      if (thread < 0 || thread >= pool.threads()) ++strange;
    });
    EXPECT_EQ(strange, 0);
    for (int r : runs) EXPECT_EQ(r, 1);
    if (round % 50 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

// No two tasks that run at once share a thread number: operations keep scratch by it.
TEST_P(ThreadPoolTest, ThreadNumbersAreExclusive) {
  ThreadPool pool(GetParam());
  std::vector<std::atomic<int>> inside(pool.threads());
  std::atomic<int> clashes{0};
  pool.ParallelFor(2000, [&](int64_t, int thread) {
    if (inside[thread].fetch_add(1) != 0) ++clashes;
    inside[thread].fetch_sub(1);
  });
  EXPECT_EQ(clashes, 0);
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolTest, testing::Values(1, 2, 3, 8));

}  // namespace
}  // namespace longtake
