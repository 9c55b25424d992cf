#include "tests/engine/cpu_backends.h"

#include <string_view>

#include "engine/cpu/cpu_ops.h"
#include "engine/cpu/families.h"
#include "engine/cpu/isa.h"

namespace longtake {

std::unique_ptr<Ops> MakeOps(const CpuBackend& b, int threads) {
  if (std::string_view(b.isa) == "amx_emulated") {
    if (cpu::DetectIsa() < cpu::Isa::kAvx512Bf16) return nullptr;
    cpu::KernelTable table = {};
    cpu::amx_bf16::FillEmulatedTable(&table);
    return cpu::MakeOps("cpu/amx_emulated", table, DType::kBF16, cpu::Quantization::kNone,
                        *ThreadPool::Create(threads));
  }
  auto ops = MakeCpuOps({.threads = threads, .isa = b.isa, .dtype = b.dtype});
  return ops.ok() ? *std::move(ops) : nullptr;
}

double ErrorBound(const CpuBackend& b) { return std::string_view(b.dtype) == "float32" ? 4e-6 : 0x1p-7; }

}  // namespace longtake
