// The processor's backend. It has kernels for x86-64 with AVX2 or more.
#ifndef LONGTAKE_ENGINE_CPU_CPU_OPS_H_
#define LONGTAKE_ENGINE_CPU_CPU_OPS_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/ops/ops.h"

namespace longtake {

struct CpuOptions {
  int threads = 1;             // >= 1, the calling thread included
  std::string isa = "auto";    // "auto", or a cap: "avx2", "avx512", "avx512_bf16", "amx_bf16"
  std::string dtype = "auto";  // activations and weights: "float32", "bfloat16"; auto: bfloat16 where there are
                               // instructions for it. "float8", "nvfp4": what a device would compute (quantized.h)
};

// One thread at a time may call the result. InvalidArgument names the option: a cap that this machine (or its operating
// system, for AMX) lacks, any but float32 below avx512_bf16, a word that is none of the above. FailedPrecondition says
// what is missing where there are no kernels for this machine.
//
// Sums, norms, softmax and states are float32 in both types. name() is "cpu/<isa>": equal names and types give equal
// bytes, at any thread count and in any batch.
absl::StatusOr<std::unique_ptr<Ops>> MakeCpuOps(const CpuOptions& options);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CPU_CPU_OPS_H_
