// Choosing a backend by name: the one place that knows them all.
#ifndef LONGTAKE_ENGINE_BACKEND_BACKEND_H_
#define LONGTAKE_ENGINE_BACKEND_BACKEND_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/ops/ops.h"

namespace longtake {

struct BackendOptions {
  std::string backend = "cpu";  // "reference" | "cpu" | "cuda"
  std::string dtype = "auto";   // "auto" | "float32" | "bfloat16" | "float8" | "nvfp4"; of cuda not "float32"
  std::string isa = "auto";     // cpu: a cap on the instruction set
  int threads = 0;              // cpu: 0: one for each core
  int device = 0;               // cuda: as the driver counts
  bool cuda_graphs = false;     // cuda: passes that come again are launched as graphs
};

// InvalidArgument names the option at fault.
absl::StatusOr<std::unique_ptr<Ops>> MakeBackend(const BackendOptions& options);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_BACKEND_BACKEND_H_
