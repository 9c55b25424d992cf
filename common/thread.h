// Starting threads where the machine may refuse: a limit on processes or on memory is an error, not the process's end.
#ifndef LONGTAKE_COMMON_THREAD_H_
#define LONGTAKE_COMMON_THREAD_H_

#include <functional>
#include <thread>

#include "absl/status/statusor.h"

namespace longtake {

// Runs `body` on a new thread. ResourceExhausted where the system does not give one (pids cgroup, ulimit -u, address
// space for the stack). The caller joins the thread.
absl::StatusOr<std::thread> StartThread(std::function<void()> body);

}  // namespace longtake

#endif  // LONGTAKE_COMMON_THREAD_H_
