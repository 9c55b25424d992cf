#include "engine/runtime/batch_queue.h"

#include <utility>

namespace longtake {

PassBatch* BatchQueue::New(Lane lane) {
  if (unused_.empty()) {
    unused_.reserve(all_.size() + 1);  // so that Recycle, which returns batches on completion, does not allocate
    all_.push_back(std::make_unique<PassBatch>());
    unused_.push_back(all_.back().get());
  }
  PassBatch* batch = unused_.back();
  unused_.pop_back();
  batch->lane = lane;
  batch->sequence = ++last_sequence_;
  return batch;
}

void BatchQueue::Push(PassBatch* batch) { lanes_[static_cast<size_t>(batch->lane)].Push(batch); }

void BatchQueue::Recycle(PassBatch* batch) {
  batch->passes.clear();
  batch->bound.clear();
  batch->done = nullptr;
  unused_.push_back(batch);
}

void BatchQueue::PushTask(std::function<void()> task) { tasks_.push_back({++last_sequence_, std::move(task)}); }

// Returns false if an earlier batch of the other lane has a pass of one of this batch's sessions.
bool BatchQueue::MayGoFirst(const PassBatch& batch) const {
  for (size_t i = 0; i < batch.bound.size(); ++i) {
    if (batch.bound[i].entry == nullptr) continue;
    const bool in_decoder = SessionTable::RoleOf(batch.passes[i].kind) == SessionTable::kFrame;
    for (size_t role = 0; role < SessionTable::kRoles; ++role) {
      const uint64_t waiting = batch.bound[i].entry->waiting[role];
      if ((role == SessionTable::kFrame) != in_decoder && waiting != 0 && waiting < batch.sequence) return false;
    }
  }
  return true;
}

BatchQueue::Next BatchQueue::Pop() {
  const PassBatch* first = lanes_[preferred_].front();
  const PassBatch* second = lanes_[1 - preferred_].front();
  if (first != nullptr && first->sequence > FirstTask()) first = nullptr;
  if (second != nullptr && second->sequence > FirstTask()) second = nullptr;
  if (first == nullptr && second == nullptr) {
    Next next{.task = std::move(tasks_.front().run)};
    tasks_.pop_front();
    return next;
  }
  const bool takes_first =
      first != nullptr && (second == nullptr || first->sequence < second->sequence || MayGoFirst(*first));
  PassBatch* batch = lanes_[takes_first ? preferred_ : 1 - preferred_].Pop();
  for (size_t i = 0; i < batch->bound.size(); ++i) {
    SessionTable::Entry* entry = batch->bound[i].entry;
    if (entry != nullptr) entry->waiting[SessionTable::RoleOf(batch->passes[i].kind)] = 0;
  }
  return {.batch = batch};
}

}  // namespace longtake
