// Passes as CUDA graphs: what a pass launches, captured once and launched again as one.
#ifndef LONGTAKE_ENGINE_CUDA_GRAPHS_H_
#define LONGTAKE_ENGINE_CUDA_GRAPHS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/cuda/handles.h"
#include "engine/cuda/launch_list.h"
#include "engine/cuda/launcher.h"
#include "engine/cuda/staging.h"

namespace longtake::cuda {

// `n` rows, segments or shares as they are padded, so that passes of other compositions launch the same: up to 64 in
// quarters of a power of two, above in multiples of 128, the rows of a product's tile. Never fewer for more.
constexpr int64_t PaddedCount(int64_t n) {
  if (n > 64) return (n + 127) / 128 * 128;
  int64_t step = 1;
  while (n > 8 * step) step *= 2;
  return (n + step - 1) / step * step;
}

// A pass is first only listed (launch_list.h): its launches with their arguments, its tables gathered at addresses of
// their own. The list is the graph's key. So a graph can never stand for another pass: whatever would differ in an
// argument is another key; whatever is in a table comes with each pass. Passes of one padded number of rows, segments
// and shares have one key.
//
// A list seen for the first time is launched as it is; the second time it is captured, since making a graph takes
// longer than launching it. A capture that fails costs nothing but the attempt: nothing has run, so the list is
// launched as it is, then and from then on. If the device has failed, that says so.
class PassGraphs {
 public:
  // `most` graphs are kept; the one used longest ago makes room.
  PassGraphs(Launcher& launcher, Staging& staging, size_t most) : launcher_(launcher), staging_(staging), most_(most) {}

  void Run(const std::function<void()>& calls);

  struct Counts {
    uint64_t listed = 0, captured = 0, refused = 0, replayed = 0, evicted = 0, too_large = 0;
  };
  const Counts& counts() const { return counts_; }

 private:
  struct Entry {
    std::string key;
    uint64_t used = 0;  // when, in passes
    GraphExec graph;    // empty: seen once, or refused
    bool refused = false;
  };

  Entry* Find(const std::string& key);
  void LaunchAll(const LaunchList& list);
  // Empty where the runtime refuses.
  GraphExec Capture(const LaunchList& list);

  Launcher& launcher_;
  Staging& staging_;
  size_t most_;
  std::vector<Entry> entries_;
  Counts counts_;
};

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_GRAPHS_H_
