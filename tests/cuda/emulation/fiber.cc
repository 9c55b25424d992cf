#include "tests/cuda/emulation/fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

// Saves what a called function must keep, stores the stack pointer at *save and goes on where `load` was stored.
extern "C" void longtake_switch_stacks(void** save, void* load);
asm(R"(
.text
.globl longtake_switch_stacks
.type longtake_switch_stacks, @function
longtake_switch_stacks:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size longtake_switch_stacks, .-longtake_switch_stacks
.globl longtake_begin_fiber
.type longtake_begin_fiber, @function
longtake_begin_fiber:
  movq %r12, %rdi
  call *%r13
  ud2
.size longtake_begin_fiber, .-longtake_begin_fiber
)");
extern "C" void longtake_begin_fiber();

namespace longtake::emulation {
namespace {

// Kernels keep fragments in arrays; the sanitizer's frames are several times as big. Only touched pages are real.
constexpr size_t kStackBytes = 256 << 10;

void BeforeSwitch([[maybe_unused]] void** fake, [[maybe_unused]] const void* bottom, [[maybe_unused]] size_t size) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(fake, bottom, size);
#endif
}
void AfterSwitch([[maybe_unused]] void* fake, [[maybe_unused]] const void** bottom, [[maybe_unused]] size_t* size) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake, bottom, size);
#endif
}

}  // namespace

void FiberEntry(Fiber* fiber) { Fiber::Run(fiber); }

Fiber::Fiber() {
  void* memory = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    std::perror("emulation: a fiber's stack");
    std::abort();
  }
  mprotect(memory, 4096, PROT_NONE);  // what overflows ends the program
  stack_ = static_cast<std::byte*>(memory);
}

Fiber::~Fiber() { munmap(stack_, kStackBytes); }

void Fiber::Start(void (*entry)(void*), void* argument) {
  entry_ = entry;
  argument_ = argument;
  ended_ = false;
  // As if longtake_switch_stacks had been called: the address to go on at, and above it six registers. 16-byte
  // alignment at the call inside longtake_begin_fiber.
  auto** top = reinterpret_cast<void**>(stack_ + kStackBytes - 64);
  *--top = reinterpret_cast<void*>(&longtake_begin_fiber);
  *--top = nullptr;                               // rbp
  *--top = nullptr;                               // rbx
  *--top = this;                                  // r12
  *--top = reinterpret_cast<void*>(&FiberEntry);  // r13
  *--top = nullptr;                               // r14
  *--top = nullptr;                               // r15
  own_ = top;
}

bool Fiber::Resume() {
  BeforeSwitch(&caller_fake_, stack_, kStackBytes);
  longtake_switch_stacks(&caller_, own_);
  AfterSwitch(caller_fake_, nullptr, nullptr);
  return !ended_;
}

void Fiber::Yield() {
  BeforeSwitch(&own_fake_, caller_bottom_, caller_size_);
  longtake_switch_stacks(&own_, caller_);
  AfterSwitch(own_fake_, &caller_bottom_, &caller_size_);
}

void Fiber::Run(Fiber* fiber) {
  AfterSwitch(fiber->own_fake_, &fiber->caller_bottom_, &fiber->caller_size_);
  fiber->entry_(fiber->argument_);
  fiber->ended_ = true;
  // AddressSanitizer's second stack stays for the next run: it is megabytes, and with small kernels most of the time
  // was spent on mapping them for each thread of each block.
  BeforeSwitch(&fiber->own_fake_, fiber->caller_bottom_, fiber->caller_size_);
  longtake_switch_stacks(&fiber->own_, fiber->caller_);
}

}  // namespace longtake::emulation
