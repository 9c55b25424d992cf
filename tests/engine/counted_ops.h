// A stream that counts what its operations allocate.
#ifndef LONGTAKE_TESTS_ENGINE_COUNTED_OPS_H_
#define LONGTAKE_TESTS_ENGINE_COUNTED_OPS_H_

#include <cstdint>
#include <memory>

#include "engine/ops/ops.h"

namespace longtake {

// Calls of operator new from inside operations of streams of CountAllocations, of any thread, so far. To be counted,
// the program's operator new calls NoteAllocation.
int64_t AllocationsInOperations();
void NoteAllocation();

// The operations of `ops`, which must outlive it, and its copies. Allocate and packing are not counted.
std::unique_ptr<Ops> CountAllocations(Ops& ops);

}  // namespace longtake

#endif  // LONGTAKE_TESTS_ENGINE_COUNTED_OPS_H_
