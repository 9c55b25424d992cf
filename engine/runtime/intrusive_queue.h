// A first-in first-out queue of objects that it does not own. It allocates nothing.
#ifndef LONGTAKE_ENGINE_RUNTIME_INTRUSIVE_QUEUE_H_
#define LONGTAKE_ENGINE_RUNTIME_INTRUSIVE_QUEUE_H_

namespace longtake {

// T has a member `T* next`, which the queue uses. An object is in at most one queue at a time.
template <typename T>
class IntrusiveQueue {
 public:
  bool empty() const { return first_ == nullptr; }
  T* front() const { return first_; }  // null if the queue is empty

  void Push(T* object) {
    object->next = nullptr;
    (first_ == nullptr ? first_ : last_->next) = object;
    last_ = object;
  }
  T* Pop() {  // requires a non-empty queue
    T* object = first_;
    first_ = object->next;
    return object;
  }

 private:
  T* first_ = nullptr;
  T* last_ = nullptr;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_INTRUSIVE_QUEUE_H_
