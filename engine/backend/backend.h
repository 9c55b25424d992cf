// Makes a backend by name. No other code names all backends.
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
  // "auto" | "float32" | "bfloat16" | "int8" | "float8" | "nvfp4"; cuda has neither "float32" nor "int8"
  std::string dtype = "auto";
  std::string isa = "auto";  // cpu: highest instruction set to use
  int threads = 0;           // cpu; 0: ChooseThreads (core/machine.h)
  int device = 0;            // cuda: device ordinal
  bool cuda_graphs = false;  // cuda: repeated passes are launched as graphs
  // Called with one line about each automatic choice and its reason. May be empty.
  std::function<void(const std::string& line)> log;
};

// InvalidArgument names the option at fault.
absl::StatusOr<std::unique_ptr<Ops>> MakeBackend(const BackendOptions& options);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_BACKEND_BACKEND_H_
