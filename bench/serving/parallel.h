// Independent runs on several threads.
#ifndef LONGTAKE_BENCH_SERVING_PARALLEL_H_
#define LONGTAKE_BENCH_SERVING_PARALLEL_H_

#include <atomic>
#include <cstddef>
#include <functional>
#include <thread>
#include <vector>

namespace longtake::bench {

// Calls what(0) … what(count - 1), each once, from several threads, and returns when all have returned.
inline void ForEach(size_t count, int threads, const std::function<void(size_t)>& what) {
  std::atomic<size_t> next = 0;
  std::vector<std::jthread> workers;
  workers.reserve(threads);
  for (int i = 0; i < threads; ++i) {
    workers.emplace_back([&] {
      for (size_t item = next++; item < count; item = next++) what(item);
    });
  }
}

}  // namespace longtake::bench

#endif  // LONGTAKE_BENCH_SERVING_PARALLEL_H_
