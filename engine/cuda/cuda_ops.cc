#include "engine/cuda/cuda_ops.h"

#include <cstring>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/cuda/cuda_ops_impl.h"
#include "engine/cuda/kernels/pointwise.h"
#include "engine/cuda/segment_tables.h"

namespace longtake {
namespace cuda {
namespace {

template <typename Memory>
class CudaBuffer : public Buffer {
 public:
  CudaBuffer(Memory memory, size_t bytes) : memory_(std::move(memory)), bytes_(bytes) {}
  void* data() override { return memory_.get(); }
  size_t size() const override { return bytes_; }

 private:
  Memory memory_;
  size_t bytes_;
};

// Which format a device multiplies marked weights in.
absl::StatusOr<OperandType> LowPrecision(const std::string& dtype, int capability) {
  if (dtype == "auto" || dtype == "bfloat16") return OperandType::kBf16;
  // The emulation (0) multiplies everything.
  if (dtype == "float8") {
    if (capability == 0 || capability >= 90) return OperandType::kE4m3;
    return absl::InvalidArgumentError(
        absl::StrCat("dtype: float8 needs a device of sm_90, this one has sm_", capability));
  }
  if (dtype == "nvfp4") {
    if (capability == 0 || capability >= 100) return OperandType::kNvfp4;
    return absl::InvalidArgumentError(
        absl::StrCat("dtype: nvfp4 needs a device of sm_100, this one has sm_", capability));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("dtype: the cuda backend computes in bfloat16, float8 or nvfp4, not \"", dtype, "\""));
}

std::string NameOf(int capability, const MatMul& matmul, OperandType low_precision) {
  return absl::StrCat("cuda/", capability == 0 ? "emulation" : absl::StrCat("sm_", capability), "/", matmul.name(),
                      low_precision == OperandType::kE4m3    ? "/float8"
                      : low_precision == OperandType::kNvfp4 ? "/nvfp4"
                                                             : "");
}

}  // namespace

CudaOps::CudaOps(std::unique_ptr<Context> context, std::unique_ptr<MatMul> matmul, OperandType low_precision,
                 std::string name)
    : context_(std::move(context)), matmul_(std::move(matmul)), low_precision_(low_precision), name_(std::move(name)) {}

CudaOps::~CudaOps() { (void)context_->Finish(); }  // nobody is left to be told

absl::Status CudaOps::Finish() { return context_->Finish(); }

std::unique_ptr<Buffer> CudaOps::Allocate(size_t bytes) {
  if (!context_->Bind().ok()) throw std::bad_alloc();
  absl::StatusOr<DeviceMemory> memory = AllocateDevice(bytes);
  if (!memory.ok()) throw std::bad_alloc();
  if (bytes > 0) {
    context_->launcher().Check(cudaMemsetAsync(memory->get(), 0, bytes, context_->stream()), "zeroing memory");
  }
  return std::make_unique<CudaBuffer<DeviceMemory>>(*std::move(memory), bytes);
}

std::unique_ptr<Buffer> CudaOps::AllocateHost(size_t bytes) {
  absl::StatusOr<PinnedMemory> memory = AllocatePinned(bytes);
  if (!memory.ok()) throw std::bad_alloc();
  return std::make_unique<CudaBuffer<PinnedMemory>>(*std::move(memory), bytes);
}

// Host memory is no part of what can be listed.
bool CudaOps::MayMove() {
  Launcher& launcher = context_->launcher();
  if (launcher.mode() == Launcher::Mode::kPlan) return false;
  if (launcher.mode() == Launcher::Mode::kList) {
    launcher.Check(cudaErrorStreamCaptureUnsupported, "a pass that moves host memory");
  }
  return launcher.Bind();
}

void CudaOps::Upload(const void* host, void* backend, size_t bytes) {
  if (bytes == 0 || !MayMove()) return;
  context_->launcher().Check(cudaMemcpyAsync(backend, host, bytes, cudaMemcpyHostToDevice, context_->stream()),
                             "upload");
}

void CudaOps::Download(const void* backend, void* host, size_t bytes) {
  if (bytes == 0) return;
  Launcher& launcher = context_->launcher();
  if (MayMove()) {
    launcher.Check(cudaMemcpyAsync(host, backend, bytes, cudaMemcpyDeviceToHost, context_->stream()), "download");
    launcher.Check(cudaStreamSynchronize(context_->stream()), "download");
  }
  if (!launcher.ok()) std::memset(host, 0, bytes);  // Finish says why
}

void CudaOps::DownloadLater(const void* backend, void* host, size_t bytes) {
  if (bytes == 0 || !MayMove()) return;
  context_->launcher().Check(cudaMemcpyAsync(host, backend, bytes, cudaMemcpyDeviceToHost, context_->stream()),
                             "download");
}

void CudaOps::Copy(const void* from, void* to, size_t bytes) {
  if (bytes == 0) return;
  context_->launcher().Do(
      "copy", [=](cudaStream_t stream) { return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream); },
      to, from, bytes);
}

void CudaOps::CopyEach(std::span<const CopyPart> parts) {
  std::vector<CopyRange> ranges;
  for (const CopyPart& p : parts) ranges.push_back({p.from, p.to, static_cast<int64_t>(p.bytes)});
  const std::vector<Share> shares = PaddedShares(
      *context_, CutShares(parts, kCopyBytes, [](const CopyPart& p) { return static_cast<int64_t>(p.bytes); }));
  ranges.resize(context_->Padded(static_cast<int64_t>(ranges.size())));
  RunCopyEach(context_->launcher(), context_->staging().Put(ranges), context_->staging().Put(shares),
              static_cast<int64_t>(shares.size()));
}

void CudaOps::RunPass(const std::function<void()>& calls) {
  // Pieces of scratch that grow would leave listed launches with the smaller ones.
  if (context_->graphs() == nullptr || !context_->scratch().reserved()) return calls();
  context_->graphs()->Run(calls);
}

void CudaOps::PlanScratch(const std::function<void()>& calls) {
  context_->launcher().PlanFromNowOn();
  calls();
  context_->launcher().LaunchFromNowOn();
}

absl::Status CudaOps::ReserveScratch() {
  RETURN_IF_ERROR(context_->Bind());
  return context_->scratch().Reserve();
}

Ops::ScratchUse CudaOps::scratch_use() const {
  const size_t fixed = context_->staging().device_bytes() + matmul_->workspace_bytes() + rotary_.bytes();
  return {.planned = fixed + context_->scratch().planned_bytes(), .used = fixed + context_->scratch().used_bytes()};
}

absl::StatusOr<std::unique_ptr<CudaOps>> CudaOps::Make(const CudaOptions& options, bool urgent) {
  ASSIGN_OR_RETURN(std::unique_ptr<Context> context, Context::Create(options.device, urgent, options.graphs));
  const int capability = context->device().compute_capability;
  ASSIGN_OR_RETURN(const OperandType low_precision, LowPrecision(options.dtype, capability));
  ASSIGN_OR_RETURN(std::unique_ptr<MatMul> matmul, MakeMatMul(*context));
  std::string name = NameOf(capability, *matmul, low_precision);
  auto ops = std::make_unique<CudaOps>(std::move(context), std::move(matmul), low_precision, std::move(name));
  ops->options_ = options;
  return ops;
}

// With a stream, scratch, tables and a workspace of its own: nothing is shared that would have to be ordered. Urgent: a
// viewer waits for what it decodes, and the few blocks of a decode's launches fit between a pass's.
// It runs no whole passes, and so no graphs.
absl::StatusOr<std::unique_ptr<Ops>> CudaOps::MakeLane() {
  CudaOptions options = options_;
  options.graphs = false;
  return Make(options, /*urgent=*/true);
}

}  // namespace cuda

absl::StatusOr<std::unique_ptr<Ops>> MakeCudaOps(const CudaOptions& options) {
  return cuda::CudaOps::Make(options, /*urgent=*/false);
}

}  // namespace longtake
