#include "engine/core/thread_pool.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace longtake {
namespace {

class ThreadPoolTest : public testing::TestWithParam<int> {};

// Loops of every size behind one another, with and without time to fall asleep between them: each task runs once, on a
// thread that exists, and all are done when the loop returns.
TEST_P(ThreadPoolTest, RunsEachTaskOnce) {
  const std::unique_ptr<ThreadPool> owned = *ThreadPool::Create(GetParam());
  ThreadPool& pool = *owned;
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
  const std::unique_ptr<ThreadPool> owned = *ThreadPool::Create(GetParam());
  ThreadPool& pool = *owned;
  std::vector<std::atomic<int>> inside(pool.threads());
  std::atomic<int> clashes{0};
  pool.ParallelFor(2000, [&](int64_t, int thread) {
    if (inside[thread].fetch_add(1) != 0) ++clashes;
    inside[thread].fetch_sub(1);
  });
  EXPECT_EQ(clashes, 0);
}

// The first exception comes out, the pool is as good as before, and every thread has left the loop.
TEST_P(ThreadPoolTest, ThrowsWhatATaskThrows) {
  const std::unique_ptr<ThreadPool> owned = *ThreadPool::Create(GetParam());
  ThreadPool& pool = *owned;
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> inside{0};
    const auto run = [&] {
      pool.ParallelFor(64, [&](int64_t task, int) {
        ++inside;
        if (task % 16 == 7) {
          --inside;
          throw std::runtime_error("task");
        }
        --inside;
      });
    };
    EXPECT_THROW(run(), std::runtime_error);
    EXPECT_EQ(inside, 0);
    std::atomic<int> ran{0};
    pool.ParallelFor(64, [&](int64_t, int) { ++ran; });
    EXPECT_EQ(ran, 64);
  }
}

// A system that gives some of the threads: those end, and the error names the option.
TEST(ThreadPool, FailsWhereThreadsAreRefused) {
  for (int given = 0; given < 7; ++given) {
    int left = given;
    const auto pool =
        ThreadPool::Create(8, [&](std::string_view name, std::function<void()> body) -> absl::StatusOr<std::thread> {
          if (left-- == 0) return absl::ResourceExhaustedError(absl::StrCat(std::string(name), ": no"));
          return StartThread(name, std::move(body));
        });
    ASSERT_TRUE(absl::IsResourceExhausted(pool.status()));
    EXPECT_EQ(pool.status().message(), absl::StrCat("threads: of 8 number ", given + 2, ": no"));
  }
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolTest, testing::Values(1, 2, 3, 8));

}  // namespace
}  // namespace longtake
