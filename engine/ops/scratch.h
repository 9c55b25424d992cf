// Workspace of operations: planned, reserved once, then never grown.
#ifndef LONGTAKE_ENGINE_OPS_SCRATCH_H_
#define LONGTAKE_ENGINE_OPS_SCRATCH_H_

#include <cstddef>
#include <functional>

#include "absl/status/status.h"

namespace longtake {

class Scratch {
 public:
  virtual ~Scratch() = default;

  // Adds to the plan what the operations called by `calls` need. Nothing is executed, so their addresses may be
  // arbitrary.
  virtual void Plan(const std::function<void()>& calls) = 0;
  // Allocates the planned bytes; call once. An operation that needs more afterwards is a bug. Without a reservation,
  // scratch grows on demand. ResourceExhausted: the allocation failed.
  virtual absl::Status Reserve() = 0;

  struct Use {
    size_t planned = 0;  // bytes
    size_t used = 0;     // the most bytes in use at one time so far
  };
  // For this stream. May be called on any thread.
  virtual Use use() const = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_OPS_SCRATCH_H_
