// The batches that wait, of both lanes, and the order in which they begin.
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

// Not synchronized: its owner's lock guards every call, and the entries that batches are bound to.
class BatchQueue {
 public:
  // The lane whose batches go first. Passes of one session keep the order of their submission all the same.
  explicit BatchQueue(Lane preferred) : preferred_(static_cast<size_t>(preferred)) {}

  // An empty batch with the next sequence number. It belongs to the queue: Push it, and Recycle it at its end.
  PassBatch* New(Lane lane);
  void Push(PassBatch* batch);
  void Recycle(PassBatch* batch);

  // A task runs behind everything pushed before it and before everything pushed later, in both lanes.
  void PushTask(std::function<void()> task);

  bool empty() const { return tasks_.empty() && lanes_[0].empty() && lanes_[1].empty(); }
  struct Next {
    PassBatch* batch = nullptr;  // or
    std::function<void()> task;
  };
  // Of a queue that is not empty.
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
