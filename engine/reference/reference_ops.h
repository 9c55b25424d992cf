// The scalar float32 backend: the definition of every operation, for reading and for comparison. Sums are in double.
#ifndef LONGTAKE_ENGINE_REFERENCE_REFERENCE_OPS_H_
#define LONGTAKE_ENGINE_REFERENCE_REFERENCE_OPS_H_

#include <memory>

#include "engine/ops/ops.h"

namespace longtake {

std::unique_ptr<Ops> MakeReferenceOps();

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_REFERENCE_REFERENCE_OPS_H_
