#include "tests/engine/cpu_backends.h"

#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/cpu/available_kernels.h"
#include "engine/cpu/families.h"

namespace longtake {
namespace {

std::optional<cpu::KernelTable> KernelsOf(const std::string& isa) {
  if (isa == "amx_emulated") return cpu::EmulatedAmxKernels();
  const auto chosen = cpu::ChooseIsa(isa, cpu::DetectIsa());
  if (!chosen.ok()) return std::nullopt;
  return cpu::KernelsOf(*chosen);
}

}  // namespace

CpuStream MakeCpuStream(const CpuBackend& backend, int threads) {
  const std::optional<cpu::KernelTable> kernels = KernelsOf(backend.isa);
  if (!kernels.has_value()) return {};
  const std::string_view dtype = backend.dtype;
  const bool f32 = dtype == "float32" || (dtype == "int8" && kernels->gemm_bf16 == nullptr);
  const DType activation = f32 ? DType::kF32 : DType::kBF16;
  const auto quantization = dtype == "int8"     ? Quantization::kInt8
                            : dtype == "float8" ? Quantization::kFloat8
                            : dtype == "nvfp4"  ? Quantization::kNvfp4
                                                : Quantization::kNone;
  auto context = std::make_unique<cpu::Context>(absl::StrCat("cpu/", backend.isa), *kernels, activation,
                                                *ThreadPool::Create(threads));
  CpuStream stream{.context = context.get()};
  stream.ops = cpu::MakeOps(std::move(context), quantization);
  return stream;
}

double ErrorBound(const CpuBackend& b) { return std::string_view(b.dtype) == "float32" ? 4e-6 : 0x1p-7; }

}  // namespace longtake
