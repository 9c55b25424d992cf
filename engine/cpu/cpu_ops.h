// The CPU backend. It has kernels for x86-64 with AVX2 or later instruction sets.
#ifndef LONGTAKE_ENGINE_CPU_CPU_OPS_H_
#define LONGTAKE_ENGINE_CPU_CPU_OPS_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/ops/ops.h"

namespace longtake {

struct CpuOptions {
  int threads = 1;  // >= 1, including the calling thread
  std::string isa =
      "auto";  // "auto", or the highest to use: "avx2", "avx512", "avx512_vnni", "avx512_bf16", "amx_bf16"
  // Type of activations and weights: "float32" | "bfloat16" | "int8" | "float8" | "nvfp4". "auto" selects bfloat16 if
  // the instruction set has instructions for it, else float32. Of "int8" are weights that may be quantized, and the
  // rows that they are multiplied with; everything else is as with "auto". The last two emulate a device (quantized.h).
  std::string dtype = "auto";
};

// Only one thread at a time may call the result. InvalidArgument names the option: an instruction set that the
// processor (or, for AMX, the operating system) lacks, int8 below avx512_vnni, another type than float32 below
// avx512_bf16, or an unknown word.
// FailedPrecondition: there are no kernels for this machine; the message says what is missing.
//
// Sums, norms, softmax and states are float32 for every type. name() is "cpu/<isa>", with "/int8", "/float8" or
// "/nvfp4" appended for those types. Equal names and types give equal bytes, with any thread count and any batch.
absl::StatusOr<std::unique_ptr<Ops>> MakeCpuOps(const CpuOptions& options);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CPU_CPU_OPS_H_
