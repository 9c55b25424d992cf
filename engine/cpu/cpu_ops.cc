#include "engine/cpu/cpu_ops.h"

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/cpu/cpu_ops_impl.h"
#include "engine/cpu/narrow_ops.h"

namespace longtake {
namespace cpu {
namespace {

constexpr std::string_view kFloat8 = "float8", kNvfp4 = "nvfp4";

KernelTable TableOf(Isa isa) {
  KernelTable table = {};
  switch (isa) {
    case Isa::kNone:
    case Isa::kAvx2:
      avx2::FillTable(&table);
      break;
    case Isa::kAvx512:
      avx512::FillTable(&table);
      break;
    case Isa::kAvx512Bf16:
      avx512_bf16::FillTable(&table);
      break;
    case Isa::kAmxBf16:
      amx_bf16::FillTable(&table);
      break;
  }
  return table;
}

absl::StatusOr<Elem> ChooseType(std::string_view dtype, Isa isa) {
  const bool has_bf16 = isa >= Isa::kAvx512Bf16;
  const bool narrow = dtype == kFloat8 || dtype == kNvfp4;
  if (dtype == "auto") return has_bf16 ? Elem::kBF16 : Elem::kF32;
  if (dtype == Name(DType::kF32)) return Elem::kF32;
  if (dtype != Name(DType::kBF16) && !narrow) {
    return absl::InvalidArgumentError(
        absl::StrCat("dtype: \"", std::string(dtype), "\" is none of auto, float32, bfloat16, float8, nvfp4"));
  }
  if (!has_bf16) {
    return absl::InvalidArgumentError(
        absl::StrCat("dtype: ", std::string(dtype), " needs isa avx512_bf16, and this is ", std::string(Name(isa))));
  }
  return Elem::kBF16;
}

}  // namespace

CpuOps::CpuOps(Isa isa, const KernelTable& table, Elem type, int threads)
    : name_(absl::StrCat("cpu/", std::string(Name(isa)))), context_(threads, table, type) {}

}  // namespace cpu

absl::StatusOr<std::unique_ptr<Ops>> MakeCpuOps(const CpuOptions& options) {
  if (options.threads < 1) {
    return absl::InvalidArgumentError(absl::StrCat("threads: ", options.threads, " is below 1"));
  }
  ASSIGN_OR_RETURN(const cpu::Isa isa, cpu::ChooseIsa(options.isa, cpu::DetectIsa()));
  ASSIGN_OR_RETURN(const cpu::Elem type, cpu::ChooseType(options.dtype, isa));
  if (options.dtype == cpu::kFloat8 || options.dtype == cpu::kNvfp4) {
    const auto narrow = options.dtype == cpu::kFloat8 ? cpu::NarrowType::kFloat8 : cpu::NarrowType::kNvfp4;
    return std::make_unique<cpu::NarrowCpuOps>(isa, cpu::TableOf(isa), options.threads, narrow);
  }
  return std::make_unique<cpu::CpuOps>(isa, cpu::TableOf(isa), type, options.threads);
}

}  // namespace longtake
