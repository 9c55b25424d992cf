// One batch divided among several devices.
#ifndef LONGTAKE_ENGINE_RUNTIME_BATCH_PART_H_
#define LONGTAKE_ENGINE_RUNTIME_BATCH_PART_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "common/mutex.h"
#include "engine/engine.h"

namespace longtake {

// Serializes the completions of one Submit, which several devices' threads report.
class Completion {
 public:
  explicit Completion(std::function<void(size_t, PassResult)> done) : done_(std::move(done)) {}
  void Complete(size_t index, PassResult result) {
    const MutexLock lock(mutex_);
    done_(index, std::move(result));
  }

 private:
  Mutex mutex_;
  const std::function<void(size_t, PassResult)> done_;
};

// The passes of one batch that go to one device, and the completions that they report to.
struct Part {
  struct Owner {
    SessionId session;  // as the caller of the group knows it, not the member
    std::shared_ptr<Completion> completion;
    size_t index;  // in the submitted list
  };
  Lane lane = Lane::kTransformer;
  std::vector<Pass> passes;
  std::vector<Owner> owners;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_BATCH_PART_H_
