// The cpu backend on every instruction set and type, for tests of operations.
#ifndef LONGTAKE_TESTS_ENGINE_CPU_BACKENDS_H_
#define LONGTAKE_TESTS_ENGINE_CPU_BACKENDS_H_

#include <array>
#include <memory>
#include <ostream>
#include <string>

#include "engine/cpu/context.h"
#include "engine/ops/ops.h"

namespace longtake {

struct CpuBackend {
  const char* isa;    // "amx_emulated": AMX's kernels on tiles in plain memory, for machines without the instructions
  const char* dtype;  // as CpuOptions
};
inline void PrintTo(const CpuBackend& b, std::ostream* os) { *os << b.isa << "/" << b.dtype; }
// isa_dtype, for a parameterised test's name.
inline std::string Name(const CpuBackend& b) { return std::string(b.isa) + "_" + b.dtype; }

// Those whose results the reference defines: float32 and bfloat16.
inline constexpr std::array kCpuBackends = {
    CpuBackend{"avx2", "float32"},        CpuBackend{"avx512", "float32"},       CpuBackend{"avx512_vnni", "float32"},
    CpuBackend{"avx512_bf16", "float32"}, CpuBackend{"avx512_bf16", "bfloat16"}, CpuBackend{"amx_emulated", "bfloat16"},
    CpuBackend{"amx_bf16", "bfloat16"}};

// A stream, and its context, which tests may look into.
struct CpuStream {
  std::unique_ptr<Ops> ops;
  cpu::Context* context = nullptr;
};
// `ops` is null where this machine lacks the instruction set.
CpuStream MakeCpuStream(const CpuBackend& backend, int threads);
inline std::unique_ptr<Ops> MakeOps(const CpuBackend& backend, int threads) {
  return MakeCpuStream(backend, threads).ops;
}

// The largest Error() against the reference. Float32: sums of up to 12 000 terms in another order, and functions good
// to 1.3e-7. bfloat16: a result is rounded to 8 bits, 2^-9 of the largest; attention before that rounds q, k and the
// probabilities. Four such roundings: 2^-7.
double ErrorBound(const CpuBackend& b);

}  // namespace longtake

#endif  // LONGTAKE_TESTS_ENGINE_CPU_BACKENDS_H_
