// Counts what a program allocates with operator new, and makes chosen allocations fail. Linked into a test, this
// replaces the operators of the whole program.
#ifndef LONGTAKE_TESTS_ENGINE_ALLOCATIONS_H_
#define LONGTAKE_TESTS_ENGINE_ALLOCATIONS_H_

#include <cstdint>

namespace longtake {

// Allocations of this thread are neither counted nor made to fail while the object lives.
class ExemptThread {
 public:
  ExemptThread();
  ~ExemptThread();
};

// Of all other threads, since the program began.
int64_t Allocations();

// The `nth` allocation from now on throws bad_alloc; 1 is the next. 0: none does.
void FailAllocation(int64_t nth);
// Whether it has come to that.
bool AllocationFailed();

// Prints a backtrace of each allocation to stderr.
void TraceAllocations(bool on);

}  // namespace longtake

#endif  // LONGTAKE_TESTS_ENGINE_ALLOCATIONS_H_
