// Choosing a backend by name: the one place that knows them all.
#ifndef LONGTAKE_ENGINE_BACKEND_BACKEND_H_
#define LONGTAKE_ENGINE_BACKEND_BACKEND_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/ops/ops.h"

namespace longtake {

struct BackendOptions {
  std::string backend = "cpu";  // "reference" | "cpu" | "cuda"
  std::string dtype = "auto";   // "auto" | "float32" | "bfloat16" | "float8" | "nvfp4"; of cuda not "float32"
  std::string isa = "auto";     // cpu: a cap on the instruction set
  int threads = 0;              // cpu: 0: as ChooseThreads says (core/machine.h)
  int device = 0;               // cuda: as the driver counts
  bool cuda_graphs = false;     // cuda: repeated passes are launched as graphs
  // Called with one line about each choice that was made, and why; may be empty.
  std::function<void(const std::string& line)> log;
};

// InvalidArgument names the option at fault.
absl::StatusOr<std::unique_ptr<Ops>> MakeBackend(const BackendOptions& options);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_BACKEND_BACKEND_H_
