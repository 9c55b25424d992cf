// Memory that operations need beside their arguments: planned, reserved once, then never grown.
#ifndef LONGTAKE_ENGINE_OPS_SCRATCH_H_
#define LONGTAKE_ENGINE_OPS_SCRATCH_H_

#include <cstddef>
#include <functional>

#include "absl/status/status.h"

namespace longtake {

class Scratch {
 public:
  virtual ~Scratch() = default;

  // Adds to the plan what the operations that `calls` asks for need. Nothing runs, so addresses may be anything.
  virtual void Plan(const std::function<void()>& calls) = 0;
  // Allocates what is planned, once. An operation that needs more afterwards is a bug. Without a reservation scratch
  // grows with the operations that are called. ResourceExhausted: the memory is not to be had.
  virtual absl::Status Reserve() = 0;

  struct Use {
    size_t planned = 0;  // bytes
    size_t used = 0;     // the most bytes at a time so far
  };
  // Of this stream. From any thread.
  virtual Use use() const = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_OPS_SCRATCH_H_
