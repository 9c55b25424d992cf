// Starting threads where the machine may refuse: a limit on processes or on memory is an error, not the process's end.
#ifndef LONGTAKE_COMMON_THREAD_H_
#define LONGTAKE_COMMON_THREAD_H_

#include <functional>
#include <string_view>
#include <thread>

#include "absl/status/statusor.h"

namespace longtake {

// Runs `body` on a new thread, which the caller joins. ResourceExhausted where the system does not give one (pids
// cgroup, ulimit -u, address space for its stack); the message begins with `name`.
absl::StatusOr<std::thread> StartThread(std::string_view name, std::function<void()> body);

}  // namespace longtake

#endif  // LONGTAKE_COMMON_THREAD_H_
