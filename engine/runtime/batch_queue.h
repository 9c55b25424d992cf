// The queue of submitted batches of both lanes. It decides which batch begins next.
#ifndef LONGTAKE_ENGINE_RUNTIME_BATCH_QUEUE_H_
#define LONGTAKE_ENGINE_RUNTIME_BATCH_QUEUE_H_

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "engine/runtime/intrusive_queue.h"
#include "engine/runtime/pass_batch.h"

namespace longtake {

// Not synchronized: the owner's lock guards every call, and the session entries that batches point to.
class BatchQueue {
 public:
  // Batches of the preferred lane go first. The passes of one session still run in the order of submission.
  explicit BatchQueue(Lane preferred) : preferred_(static_cast<size_t>(preferred)) {}

  // Returns an empty batch with the next sequence number. The queue owns it: pass it to Push, and to Recycle once it
  // has completed.
  PassBatch* New(Lane lane);
  void Push(PassBatch* batch);
  void Recycle(PassBatch* batch);

  // Appends a barrier task: it runs after everything pushed before it and before everything pushed later, in both
  // lanes.
  void PushTask(std::function<void()> task);

  bool empty() const { return tasks_.empty() && lanes_[0].empty() && lanes_[1].empty(); }
  struct Next {
    PassBatch* batch = nullptr;  // either a batch, or a task if this is null
    std::function<void()> task;
  };
  // Requires a non-empty queue.
  Next Pop();

 private:
  struct Task {
    uint64_t sequence;
    std::function<void()> run;
  };
  uint64_t FirstTask() const { return tasks_.empty() ? UINT64_MAX : tasks_.front().sequence; }
  bool MayGoFirst(const PassBatch& batch) const;

  const size_t preferred_;
  std::array<IntrusiveQueue<PassBatch>, 2> lanes_;
  std::deque<Task> tasks_;
  uint64_t last_sequence_ = 0;
  std::vector<std::unique_ptr<PassBatch>> all_;
  std::vector<PassBatch*> unused_;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_BATCH_QUEUE_H_
