// Checks of an operation's contract. A call that violates one is a bug of this program and never caused by a user's
// input, so the process aborts and prints the operation and the requirement.
#ifndef LONGTAKE_ENGINE_OPS_CHECK_H_
#define LONGTAKE_ENGINE_OPS_CHECK_H_

namespace longtake {

[[noreturn]] void ContractViolated(const char* operation, const char* requirement);

// `requirement` states what has to hold, for example "x has as many columns as the kernel has inputs".
inline void Require(bool holds, const char* operation, const char* requirement) {
  if (!holds) [[unlikely]]
    ContractViolated(operation, requirement);
}

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_OPS_CHECK_H_
