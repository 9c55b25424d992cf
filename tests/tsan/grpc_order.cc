// Debian's gRPC and Abseil are compiled without ThreadSanitizer, which therefore does not see by what they order their
// threads: absl::Mutex asks the kernel itself, and counts and queues are atomic. gRPC hands calls from thread to
// thread, and ThreadSanitizer would report what we do with them each time. The functions below stand in front of the
// libraries' in every test program of the preset `tsan`: they call the libraries', and report the order that these
// give.
//
// Abseil's are those that gRPC calls; our own code has no absl::Mutex. Two of gRPC's orders are reported with more than
// is true, which is said where they are.
#include <dlfcn.h>
#include <grpc/grpc.h>
#include <sanitizer/tsan_interface.h>

#include <utility>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace {

// The library's own function. The loader finds the program's first, and this one next.
template <typename Function>
Function* Original(const char* symbol) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, symbol));
}

// ThreadSanitizer orders by addresses; these stand for something of gRPC's that has none that we know.
char combined_work;
char calls_ended;

}  // namespace

namespace absl {
ABSL_NAMESPACE_BEGIN

// What a thread did before Unlock comes before what another does after its Lock.
void Mutex::Lock() {
  static auto* const lock = Original<void(Mutex*)>("_ZN4absl7debian35Mutex4LockEv");
  lock(this);
  __tsan_acquire(this);
}

bool Mutex::TryLock() {
  static auto* const try_lock = Original<bool(Mutex*)>("_ZN4absl7debian35Mutex7TryLockEv");
  const bool locked = try_lock(this);
  if (locked) __tsan_acquire(this);
  return locked;
}

void Mutex::Unlock() {
  static auto* const unlock = Original<void(Mutex*)>("_ZN4absl7debian35Mutex6UnlockEv");
  __tsan_release(this);
  unlock(this);
}

// A wait unlocks the mutex and locks it again.
void CondVar::Wait(Mutex* mutex) {
  static auto* const wait = Original<void(CondVar*, Mutex*)>("_ZN4absl7debian37CondVar4WaitEPNS0_5MutexE");
  __tsan_release(mutex);
  wait(this, mutex);
  __tsan_acquire(mutex);
}

bool CondVar::WaitWithTimeout(Mutex* mutex, Duration limit) {
  static auto* const wait = Original<bool(CondVar*, Mutex*, Duration)>(
      "_ZN4absl7debian37CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE");
  __tsan_release(mutex);
  const bool timed_out = wait(this, mutex, limit);
  __tsan_acquire(mutex);
  return timed_out;
}

bool CondVar::WaitWithDeadline(Mutex* mutex, Time deadline) {
  static auto* const wait =
      Original<bool(CondVar*, Mutex*, Time)>("_ZN4absl7debian37CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE");
  __tsan_release(mutex);
  const bool timed_out = wait(this, mutex, deadline);
  __tsan_acquire(mutex);
  return timed_out;
}

ABSL_NAMESPACE_END
}  // namespace absl

// What a thread did before it started a read, a write or an end comes before what another does when that has finished.
grpc_call_error grpc_call_start_batch(grpc_call* call, const grpc_op* ops, size_t count, void* tag, void* reserved) {
  static auto* const start =
      Original<grpc_call_error(grpc_call*, const grpc_op*, size_t, void*, void*)>("grpc_call_start_batch");
  __tsan_release(tag);
  return start(call, ops, count, tag, reserved);
}

struct grpc_cq_completion;
using Done = void (*)(void*, grpc_cq_completion*);

void grpc_cq_end_op(grpc_completion_queue* queue, void* tag, absl::Status error, Done done, void* argument,
                    grpc_cq_completion* storage, bool internal) {
  static auto* const end =
      Original<void(grpc_completion_queue*, void*, absl::Status, Done, void*, grpc_cq_completion*, bool)>(
          "_Z14grpc_cq_end_opP21grpc_completion_queuePvN4absl7debian36StatusEPFvS1_P18grpc_cq_completionES1_S6_b");
  __tsan_acquire(tag);
  __tsan_release(tag);
  end(queue, tag, std::move(error), done, argument, storage, internal);
}

// And what a thread did before it ended the operation comes before what another does that takes it from the queue.
grpc_event grpc_completion_queue_next(grpc_completion_queue* queue, gpr_timespec deadline, void* reserved) {
  static auto* const next =
      Original<grpc_event(grpc_completion_queue*, gpr_timespec, void*)>("grpc_completion_queue_next");
  const grpc_event event = next(queue, deadline, reserved);
  if (event.type == GRPC_OP_COMPLETE) __tsan_acquire(event.tag);
  return event;
}

// A combiner is a connection's queue of work, which some thread runs. Which combiner a thread runs is not known here,
// so that all of them are one.
struct grpc_closure;
namespace grpc_core {

class Combiner {
 public:
  void Run(grpc_closure* work, absl::Status error);
};

void Combiner::Run(grpc_closure* work, absl::Status error) {
  static auto* const run = Original<void(Combiner*, grpc_closure*, absl::Status)>(
      "_ZN9grpc_core8Combiner3RunEP12grpc_closureN4absl7debian36StatusE");
  __tsan_release(&combined_work);
  run(this, work, std::move(error));
}

}  // namespace grpc_core

bool grpc_combiner_continue_exec_ctx() {
  static auto* const run = Original<bool()>("_Z31grpc_combiner_continue_exec_ctxv");
  __tsan_acquire(&combined_work);
  return run();
}

// A server ends after the last of its calls, which gRPC counts. Here it ends after those of other servers and of
// clients that have ended, too.
void grpc_call_unref(grpc_call* call) {
  static auto* const unref = Original<void(grpc_call*)>("grpc_call_unref");
  __tsan_release(&calls_ended);
  unref(call);
}

void grpc_server_destroy(grpc_server* server) {
  static auto* const destroy = Original<void(grpc_server*)>("grpc_server_destroy");
  destroy(server);
  __tsan_acquire(&calls_ended);
}
