#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/cuda/cuda_ops.h"
#include "engine/cuda/families.h"

namespace longtake {
namespace cuda {
namespace {

// Which format a device multiplies marked weights in.
absl::StatusOr<OperandType> LowPrecision(const std::string& dtype, int capability) {
  if (dtype == "auto" || dtype == "bfloat16") return OperandType::kBf16;
  // The emulation (0) multiplies everything.
  if (dtype == "float8") {
    // cuBLASLt takes a float32 scale for each row and each output on Hopper only.
    if (capability == 0 || capability == 90) return OperandType::kE4m3;
    return absl::InvalidArgumentError(absl::StrCat("dtype: float8 needs a device of sm_90, this one has sm_",
                                                   capability, capability >= 100 ? "; nvfp4 is its narrow type" : ""));
  }
  if (dtype == "nvfp4") {
    if (capability == 0 || capability >= 100) return OperandType::kNvfp4;
    return absl::InvalidArgumentError(
        absl::StrCat("dtype: nvfp4 needs a device of sm_100, this one has sm_", capability));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("dtype: the cuda backend computes in bfloat16, float8 or nvfp4, not \"", dtype, "\""));
}

// Packed weights may be used on any stream of the device.
class CudaOps final : public Ops {
 public:
  // `urgent`: where the device must choose, this stream's blocks go before those of others.
  static absl::StatusOr<std::unique_ptr<Ops>> Make(const CudaOptions& options, bool urgent) {
    auto state = std::make_shared<StreamState>();
    ASSIGN_OR_RETURN(state->context, Context::Create(options.device, urgent, options.graphs));
    const int capability = state->context->device().compute_capability;
    ASSIGN_OR_RETURN(state->low_precision, LowPrecision(options.dtype, capability));
    ASSIGN_OR_RETURN(state->matmul, MakeMatMul(*state->context));
    state->products = std::make_unique<Products>(*state->context, *state->matmul);
    RETURN_IF_ERROR(state->context->MeasureMemory(state->staging().device_bytes() + state->matmul->workspace_bytes()));
    auto family = std::make_unique<FamilyContext>();
    family->activation_type = DType::kBF16;
    ASSIGN_OR_RETURN(state->timer, CudaLaunchTimer::Create(family->profiler));
    state->launcher().TimeLaunches(state->timer.get());
    return std::unique_ptr<Ops>(new CudaOps(MakeParts(std::move(state), std::move(family)), options));
  }

  // The new stream has scratch, tables and a workspace of its own: nothing is shared that would have to be ordered. It
  // is urgent, for a viewer waits for what it decodes, and the few blocks of a decode's launches fit between a pass's.
  // It runs no whole passes, and so no graphs.
  absl::StatusOr<std::unique_ptr<Ops>> MakeStream() override {
    CudaOptions options = options_;
    options.graphs = false;
    return Make(options, /*urgent=*/true);
  }

 private:
  CudaOps(Parts parts, CudaOptions options) : Ops(std::move(parts)), options_(std::move(options)) {}

  static Parts MakeParts(std::shared_ptr<StreamState> state, std::unique_ptr<FamilyContext> context) {
    Parts parts;
    parts.context = std::move(context);
    FamilyContext* const family = parts.context.get();
    parts.device = MakeDevice(*state);
    parts.scratch = MakeScratch(*state);
    parts.weights = MakeWeightPacker(*state, *parts.device);
    parts.dense = MakeDense(family, *state);
    parts.norm = MakeNorm(family, *state);
    parts.elementwise = MakeElementwise(family, *state);
    parts.attention = MakeAttention(family, *state);
    parts.convolution = MakeConvolution(family, *state);
    parts.latents = MakeLatents(family, *state);
    parts.sampler = MakeSampler(family, *state);
    parts.shuffle = MakeShuffle(family, *state);
    parts.hybrid = MakeHybrid(family, *state);
    parts.state = std::move(state);
    return parts;
  }

  CudaOptions options_;
};

}  // namespace
}  // namespace cuda

absl::StatusOr<std::unique_ptr<Ops>> MakeCudaOps(const CudaOptions& options) {
  return cuda::CudaOps::Make(options, /*urgent=*/false);
}

}  // namespace longtake
