#include "tests/engine/counted_ops.h"

#include <atomic>

#include "tests/engine/forwarded_ops.h"

namespace longtake {
namespace {

std::atomic<bool> in_operation = false;
std::atomic<int64_t> allocations = 0;

class Counting final : public OperationHook {
 public:
  void Begin() override { in_operation = true; }
  void End() override { in_operation = false; }
};

}  // namespace

int64_t AllocationsInOperations() { return allocations; }

void NoteAllocation() {
  if (in_operation) ++allocations;
}

std::unique_ptr<Ops> CountAllocations(Ops& ops) {
  static Counting counting;
  return std::make_unique<ForwardedOps>(ForwardedParts(ops, counting));
}

}  // namespace longtake
