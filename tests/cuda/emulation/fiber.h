// Stacks that change over by hand: what a thread of a block runs on.
#ifndef LONGTAKE_TESTS_CUDA_EMULATION_FIBER_H_
#define LONGTAKE_TESTS_CUDA_EMULATION_FIBER_H_

#include <cstddef>

namespace longtake::emulation {

// A piece of code with a stack of its own. Resume runs it until it calls Yield or ends; both on one system thread.
class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // The next Resume begins entry(argument); for a new fiber, or one whose code has ended.
  void Start(void (*entry)(void*), void* argument);
  // True while the code has not ended.
  bool Resume();
  // Called by the code itself.
  void Yield();

 private:
  static void Run(Fiber* fiber);

  std::byte* stack_;
  void* own_ = nullptr;  // stack pointers, of the side that does not run
  void* caller_ = nullptr;
  void (*entry_)(void*) = nullptr;
  void* argument_ = nullptr;
  bool ended_ = true;
  // Of the address sanitizer, which must know on which stack the program is.
  void* own_fake_ = nullptr;
  void* caller_fake_ = nullptr;
  const void* caller_bottom_ = nullptr;
  size_t caller_size_ = 0;

  friend void FiberEntry(Fiber* fiber);
};

}  // namespace longtake::emulation

#endif  // LONGTAKE_TESTS_CUDA_EMULATION_FIBER_H_
