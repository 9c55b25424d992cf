// The scalar float32 backend. It defines the result of every operation, in readable form; other backends are tested
// against it. Sums are double.
#ifndef LONGTAKE_ENGINE_REFERENCE_REFERENCE_OPS_H_
#define LONGTAKE_ENGINE_REFERENCE_REFERENCE_OPS_H_

#include <memory>

#include "engine/ops/ops.h"

namespace longtake {

std::unique_ptr<Ops> MakeReferenceOps();

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_REFERENCE_REFERENCE_OPS_H_
