// One batch divided among several devices.
#ifndef LONGTAKE_ENGINE_RUNTIME_BATCH_PART_H_
#define LONGTAKE_ENGINE_RUNTIME_BATCH_PART_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "engine/engine.h"

namespace longtake {

// The completions of one Submit, which come from several devices' threads.
class Completion {
 public:
  explicit Completion(std::function<void(size_t, PassResult)> done) : done_(std::move(done)) {}
  void Complete(size_t index, PassResult result) {
    const std::lock_guard lock(mutex_);
    done_(index, std::move(result));
  }

 private:
  std::mutex mutex_;
  const std::function<void(size_t, PassResult)> done_;
};

// Passes that go to one device together, and where their completions go.
struct Part {
  struct Owner {
    SessionId session;  // the group's id
    std::shared_ptr<Completion> completion;
    size_t index;  // in the submitted list
  };
  Lane lane = Lane::kTransformer;
  std::vector<Pass> passes;
  std::vector<Owner> owners;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_BATCH_PART_H_
