// A first-in first-out queue of objects that somebody else owns. Nothing is allocated.
#ifndef LONGTAKE_ENGINE_RUNTIME_INTRUSIVE_QUEUE_H_
#define LONGTAKE_ENGINE_RUNTIME_INTRUSIVE_QUEUE_H_

namespace longtake {

// T has a member `T* next`, which belongs to the queue. An object is in one queue at a time.
template <typename T>
class IntrusiveQueue {
 public:
  bool empty() const { return first_ == nullptr; }
  T* front() const { return first_; }  // null where the queue is empty

  void Push(T* object) {
    object->next = nullptr;
    (first_ == nullptr ? first_ : last_->next) = object;
    last_ = object;
  }
  T* Pop() {  // of a queue that is not empty
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
