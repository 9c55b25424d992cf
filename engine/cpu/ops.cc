#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/cpu/available_kernels.h"
#include "engine/cpu/cpu_ops.h"
#include "engine/cpu/families.h"

namespace longtake {
namespace cpu {
namespace {

struct Types {
  std::string_view name;  // as on the command line
  DType activation;       // of int8: bf16 where there are instructions for it, else f32
  Quantization quantization;
};
constexpr Types kTypes[] = {{"float32", DType::kF32, Quantization::kNone},
                            {"bfloat16", DType::kBF16, Quantization::kNone},
                            {"int8", DType::kF32, Quantization::kInt8},
                            {"float8", DType::kBF16, Quantization::kFloat8},
                            {"nvfp4", DType::kBF16, Quantization::kNvfp4}};

// `device` is for the error.
absl::StatusOr<Types> ChooseTypes(std::string_view dtype, const KernelTable& kernels, std::string_view device) {
  const bool has_bf16 = kernels.gemm_bf16 != nullptr, has_int8 = kernels.gemm_int8 != nullptr;
  if (dtype == "auto") return kTypes[has_bf16 ? 1 : 0];
  for (Types types : kTypes) {
    if (dtype != types.name) continue;
    const bool int8 = types.quantization == Quantization::kInt8;
    if (int8 && has_bf16) types.activation = DType::kBF16;
    if (int8 ? has_int8 : types.activation == DType::kF32 || has_bf16) return types;
    return absl::InvalidArgumentError(absl::StrCat(std::string(dtype), " needs isa ",
                                                   std::string(Name(int8 ? Isa::kAvx512Vnni : Isa::kAvx512Bf16)),
                                                   ", and this is ", std::string(device)));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("\"", std::string(dtype), "\" is none of auto, float32, bfloat16, int8, float8, nvfp4"));
}

class CpuOps final : public Ops {
 public:
  using Ops::Parts;
  // `context` is that of `parts`.
  CpuOps(const Context& context, Parts parts) : Ops(std::move(parts)), context_(context) {}

  absl::StatusOr<std::unique_ptr<Ops>> WithDtype(const std::string& dtype) override {
    ASSIGN_OR_RETURN(const Types types, ChooseTypes(dtype, context_.kernels, context_.name));
    return MakeOps(std::make_unique<Context>(context_.name, context_.kernels, types.activation, context_.pool),
                   types.quantization);
  }

 private:
  const Context& context_;
};

}  // namespace

std::unique_ptr<Ops> MakeOps(std::unique_ptr<Context> owner, Quantization quantization) {
  Context& context = *owner;
  return std::make_unique<CpuOps>(context, CpuOps::Parts{.context = std::move(owner),
                                                         .device = MakeDevice(context),
                                                         .scratch = MakeScratch(context),
                                                         .weights = MakeWeightPacker(context, quantization),
                                                         .dense = MakeDenseOps(context, quantization),
                                                         .norm = MakeNormOps(context),
                                                         .elementwise = MakeElementwiseOps(context),
                                                         .attention = MakeAttentionOps(context),
                                                         .convolution = MakeConvolutionOps(context),
                                                         .latents = MakeLatentOps(context),
                                                         .sampler = MakeSamplerOps(context),
                                                         .shuffle = MakeShuffleOps(context),
                                                         .hybrid = MakeHybridOps(context)});
}

}  // namespace cpu

absl::StatusOr<std::unique_ptr<Ops>> MakeCpuOps(const CpuOptions& options) {
  if (options.threads < 1) {
    return absl::InvalidArgumentError(absl::StrCat("threads: ", options.threads, " is below 1"));
  }
  ASSIGN_OR_RETURN(const cpu::Isa isa, cpu::ChooseIsa(options.isa, cpu::DetectIsa()));
  const cpu::KernelTable kernels = cpu::KernelsOf(isa);
  std::string name = absl::StrCat("cpu/", std::string(cpu::Name(isa)));
  const absl::StatusOr<cpu::Types> types = cpu::ChooseTypes(options.dtype, kernels, name);
  if (!types.ok()) return absl::InvalidArgumentError(absl::StrCat("dtype: ", types.status().message()));
  if (types->quantization != Quantization::kNone) absl::StrAppend(&name, "/", options.dtype);
  ASSIGN_OR_RETURN(std::unique_ptr<ThreadPool> threads, ThreadPool::Create(options.threads));
  auto context = std::make_unique<cpu::Context>(std::move(name), kernels, types->activation, std::move(threads));
  return cpu::MakeOps(std::move(context), types->quantization);
}

}  // namespace longtake
