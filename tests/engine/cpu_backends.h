// The cpu backend on every instruction set and type, for tests of operations.
#ifndef LONGTAKE_TESTS_ENGINE_CPU_BACKENDS_H_
#define LONGTAKE_TESTS_ENGINE_CPU_BACKENDS_H_

#include <array>
#include <memory>
#include <ostream>
#include <string>

#include "engine/ops/ops.h"

namespace longtake {

struct CpuBackend {
  const char *isa, *dtype;
};
inline void PrintTo(const CpuBackend& b, std::ostream* os) { *os << b.isa << "/" << b.dtype; }
inline std::string Name(const CpuBackend& b) { return std::string(b.isa) + "_" + b.dtype; }

// "amx_emulated": AMX's kernel on tiles in plain memory, for machines without the instructions.
inline constexpr std::array kCpuBackends = {
    CpuBackend{"avx2", "float32"},         CpuBackend{"avx512", "float32"},        CpuBackend{"avx512_bf16", "float32"},
    CpuBackend{"avx512_bf16", "bfloat16"}, CpuBackend{"amx_emulated", "bfloat16"}, CpuBackend{"amx_bf16", "bfloat16"}};

// Null where this machine lacks the instructions.
std::unique_ptr<Ops> MakeOps(const CpuBackend& b, int threads);

// The largest Error() against the reference. Float32: sums of up to 12 000 terms in another order, and functions good
// to 1.3e-7. bfloat16: a result is rounded to 8 bits, 2^-9 of the largest; attention before that rounds q, k and the
// probabilities. Four such roundings: 2^-7.
double ErrorBound(const CpuBackend& b);

}  // namespace longtake

#endif  // LONGTAKE_TESTS_ENGINE_CPU_BACKENDS_H_
