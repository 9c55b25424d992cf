#include "engine/ops/check.h"

#include <cstdio>
#include <cstdlib>

namespace longtake {

void ContractViolated(const char* operation, const char* requirement) {
  std::fprintf(stderr, "longtake: %s was called against its contract: %s\n", operation, requirement);
  std::abort();
}

}  // namespace longtake
