#include "common/mutex.h"

#include <memory>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace longtake {
namespace {

TEST(Mutex, WakesWhoseConditionHoldsAndKeepsTheOthers) {
  Mutex mutex;
  int value = 0, seen = 0;
  std::vector<std::thread> threads;
  for (int wanted : {3, 1, 2}) {
    threads.emplace_back([&, wanted] {
      const auto reached = [&] { return value == wanted; };
      MutexLock lock(&mutex);
      mutex.Await(absl::Condition(&reached));
      EXPECT_EQ(seen++, wanted - 1);
      ++value;  // the next one's turn
    });
  }
  {
    MutexLock lock(&mutex);
    value = 1;
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(seen, 3);
}

TEST(Mutex, GivesUpWaiting) {
  Mutex mutex;
  bool met = false;
  MutexLock lock(&mutex);
  EXPECT_FALSE(mutex.AwaitWithTimeout(absl::Condition(&met), absl::Milliseconds(1)));
  EXPECT_FALSE(mutex.AwaitWithTimeout(absl::Condition(&met), absl::ZeroDuration()));
  met = true;
  EXPECT_TRUE(mutex.AwaitWithTimeout(absl::Condition(&met), absl::ZeroDuration()));
}

// What a thread changes before it waits itself, others see.
TEST(Mutex, WaitingWakesOthers) {
  Mutex mutex;
  bool ping = false, pong = false;
  std::thread other([&] {
    MutexLock lock(&mutex);
    mutex.Await(absl::Condition(&ping));
    pong = true;
  });
  {
    MutexLock lock(&mutex);
    ping = true;
    mutex.Await(absl::Condition(&pong));
  }
  other.join();
}

// Who waits may destroy the mutex at once.
TEST(Mutex, MayBeDestroyedByTheOneItWakes) {
  for (int i = 0; i < 1000; ++i) {
    struct Shared {
      Mutex mutex;
      bool done = false;
    };
    auto shared = std::make_unique<Shared>();
    std::thread other([shared = shared.get()] {
      MutexLock lock(&shared->mutex);
      shared->done = true;
    });
    {
      MutexLock lock(&shared->mutex);
      shared->mutex.Await(absl::Condition(&shared->done));
    }
    shared.reset();
    other.join();
  }
}

TEST(Mutex, ExcludesOthers) {
  Mutex mutex;
  int64_t sum = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 10000; ++j) {
        MutexLock lock(&mutex);
        ++sum;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(sum, 40000);
}

}  // namespace
}  // namespace longtake
