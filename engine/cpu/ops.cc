#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/cpu/available_kernels.h"
#include "engine/cpu/cpu_ops.h"
#include "engine/cpu/families.h"

namespace longtake {
namespace cpu {
namespace {

class CpuOps final : public Ops {
 public:
  using Ops::Parts;
  // `context` is that of `parts`.
  CpuOps(const Context& context, Parts parts) : Ops(std::move(parts)), context_(context) {}

  absl::StatusOr<std::unique_ptr<Ops>> WithActivations(DType type) override {
    if (type == DType::kBF16 && context_.kernels.gemm_bf16 == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat("bfloat16 needs isa avx512_bf16, and this is ", context_.name));
    }
    return MakeOps(std::make_unique<Context>(context_.name, context_.kernels, type, context_.pool),
                   Quantization::kNone);
  }

 private:
  const Context& context_;
};

struct Types {
  std::string_view name;  // as on the command line
  DType activation;
  Quantization quantization;
};
constexpr Types kTypes[] = {{"float32", DType::kF32, Quantization::kNone},
                            {"bfloat16", DType::kBF16, Quantization::kNone},
                            {"float8", DType::kBF16, Quantization::kFloat8},
                            {"nvfp4", DType::kBF16, Quantization::kNvfp4}};

absl::StatusOr<Types> ChooseTypes(std::string_view dtype, Isa isa) {
  const bool has_bf16 = isa >= Isa::kAvx512Bf16;
  if (dtype == "auto") return kTypes[has_bf16 ? 1 : 0];
  for (const Types& types : kTypes) {
    if (dtype != types.name) continue;
    if (types.activation == DType::kBF16 && !has_bf16) {
      return absl::InvalidArgumentError(
          absl::StrCat("dtype: ", std::string(dtype), " needs isa avx512_bf16, and this is ", std::string(Name(isa))));
    }
    return types;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("dtype: \"", std::string(dtype), "\" is none of auto, float32, bfloat16, float8, nvfp4"));
}

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
  ASSIGN_OR_RETURN(const cpu::Types types, cpu::ChooseTypes(options.dtype, isa));
  std::string name = absl::StrCat("cpu/", std::string(cpu::Name(isa)));
  if (types.quantization != cpu::Quantization::kNone) absl::StrAppend(&name, "/", options.dtype);
  ASSIGN_OR_RETURN(std::unique_ptr<ThreadPool> threads, ThreadPool::Create(options.threads));
  auto context =
      std::make_unique<cpu::Context>(std::move(name), cpu::KernelsOf(isa), types.activation, std::move(threads));
  return cpu::MakeOps(std::move(context), types.quantization);
}

}  // namespace longtake
