// Contracts of operations. A call that breaks one is a bug of ours, never a user's input: the process ends and says
// which operation was called with what.
#ifndef LONGTAKE_ENGINE_OPS_CHECK_H_
#define LONGTAKE_ENGINE_OPS_CHECK_H_

namespace longtake {

[[noreturn]] void ContractViolated(const char* operation, const char* requirement);

// `requirement` says what has to hold: "x has as many columns as the kernel has inputs".
inline void Require(bool holds, const char* operation, const char* requirement) {
  if (!holds) [[unlikely]]
    ContractViolated(operation, requirement);
}

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_OPS_CHECK_H_
