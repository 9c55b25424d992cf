#include "common/worker_pool.h"

#include <future>
#include <memory>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace longtake {
namespace {

// With ThreadSanitizer this finds a Post that touches the pool after the task could begin.
TEST(WorkerPool, EndsWhileThePostOfItsLastTaskReturns) {
  for (int i = 0; i < 50; ++i) {
    auto pool = std::make_unique<WorkerPool>(2);
    std::promise<void> ran;
    std::thread poster([&pool = *pool, &ran] { pool.Post([&ran] { ran.set_value(); }); });
    ran.get_future().wait();
    pool.reset();
    poster.join();
  }
}

TEST(WorkerPool, RunsWhatWasPostedBeforeItsEndInOrder) {
  std::vector<int> order;
  {
    WorkerPool pool(1);
    for (int i = 0; i < 100; ++i) pool.Post([&order, i] { order.push_back(i); });
  }
  ASSERT_EQ(order.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
}

}  // namespace
}  // namespace longtake
