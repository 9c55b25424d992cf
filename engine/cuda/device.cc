#include <cstring>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/cuda/families.h"
#include "engine/cuda/kernels/pointwise.h"
#include "engine/cuda/segment_tables.h"

namespace longtake::cuda {
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

const char* SuffixOf(OperandType low_precision) {
  switch (low_precision) {
    case OperandType::kE4m3:
      return "/float8";
    case OperandType::kNvfp4:
      return "/nvfp4";
    case OperandType::kBf16:
      break;
  }
  return "";
}

class CudaDevice final : public Device {
 public:
  explicit CudaDevice(StreamState& state) : state_(state) {}
  // Device memory must not be freed while launched work uses it.
  ~CudaDevice() override { (void)context().Synchronize(); }

  std::string name() const override {
    const int capability = context().device().compute_capability;
    return absl::StrCat("cuda/", capability == 0 ? "emulation" : absl::StrCat("sm_", capability), "/",
                        state_.matmul->name(), SuffixOf(state_.low_precision));
  }
  uint64_t memory_bytes() const override { return context().device().memory_bytes; }

  std::unique_ptr<Buffer> Allocate(size_t bytes) override {
    if (!context().Bind().ok()) throw std::bad_alloc();
    absl::StatusOr<DeviceMemory> memory = AllocateDevice(bytes);
    if (!memory.ok()) throw std::bad_alloc();
    if (bytes > 0) {
      state_.launcher().Check(cudaMemsetAsync(memory->get(), 0, bytes, context().stream()), "zeroing memory");
    }
    return std::make_unique<CudaBuffer<DeviceMemory>>(*std::move(memory), bytes);
  }
  std::unique_ptr<Buffer> AllocateHost(size_t bytes) override {
    absl::StatusOr<PinnedMemory> memory = AllocatePinned(bytes);
    if (!memory.ok()) throw std::bad_alloc();
    return std::make_unique<CudaBuffer<PinnedMemory>>(*std::move(memory), bytes);
  }

  void Upload(const void* host, void* device, size_t bytes) override {
    if (bytes == 0 || !MayMove()) return;
    state_.launcher().Check(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, context().stream()), "upload");
  }
  void Download(const void* device, void* host, size_t bytes) override {
    if (bytes == 0) return;
    Launcher& launcher = state_.launcher();
    if (MayMove()) {
      launcher.Check(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, context().stream()), "download");
      launcher.Check(cudaStreamSynchronize(context().stream()), "download");
    }
    if (!launcher.ok()) std::memset(host, 0, bytes);  // Synchronize says why
  }
  void DownloadAsync(const void* device, void* host, size_t bytes) override {
    if (bytes == 0 || !MayMove()) return;
    state_.launcher().Check(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, context().stream()),
                            "download");
  }
  void Copy(const void* from, void* to, size_t bytes) override {
    if (bytes == 0) return;
    state_.launcher().Do(
        "copy", [=](cudaStream_t stream) { return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream); },
        to, from, bytes);
  }
  void CopyEach(std::span<const CopyPart> parts) override;

  absl::Status Synchronize() override { return context().Synchronize(); }
  Event Record() override { return context().Record(); }
  absl::Status Synchronize(Event event) override { return context().Synchronize(event); }
  void WaitFor(Device& other, Event event) override {
    context().WaitFor(static_cast<CudaDevice&>(other).context(), event);
  }

  void RunPass(const std::function<void()>& calls) override {
    // Pieces of scratch that still grow would leave captured launches with the smaller ones.
    if (context().graphs() == nullptr || !context().scratch().reserved()) return calls();
    context().graphs()->Run(calls);
  }
  int64_t PaddedRows(int64_t rows) const override { return context().Padded(rows); }

 private:
  Context& context() const { return *state_.context; }
  // Whether a transfer is to be launched now. Host memory cannot be part of a captured pass.
  bool MayMove() {
    Launcher& launcher = state_.launcher();
    if (launcher.mode() == Launcher::Mode::kPlan) return false;
    if (launcher.mode() == Launcher::Mode::kList) {
      launcher.Check(cudaErrorStreamCaptureUnsupported, "a pass that moves host memory");
    }
    return launcher.Bind();
  }

  StreamState& state_;
};

void CudaDevice::CopyEach(std::span<const CopyPart> parts) {
  std::vector<CopyRange> ranges;
  for (const CopyPart& p : parts) ranges.push_back({p.from, p.to, static_cast<int64_t>(p.bytes)});
  const std::vector<Share> shares = PaddedShares(
      context(), CutShares(parts, kCopyBytes, [](const CopyPart& p) { return static_cast<int64_t>(p.bytes); }));
  ranges.resize(context().Padded(static_cast<int64_t>(ranges.size())));
  RunCopyEach(state_.launcher(), state_.staging().Put(ranges), state_.staging().Put(shares),
              static_cast<int64_t>(shares.size()));
}

class CudaScratch final : public Scratch {
 public:
  explicit CudaScratch(StreamState& state) : state_(state) {}

  void Plan(const std::function<void()>& calls) override {
    state_.launcher().PlanFromNowOn();
    calls();
    state_.launcher().LaunchFromNowOn();
  }
  absl::Status Reserve() override {
    RETURN_IF_ERROR(state_.context->Bind());
    return state_.context->scratch().Reserve();
  }
  Use use() const override {
    const size_t fixed = state_.staging().device_bytes() + state_.matmul->workspace_bytes() + state_.rotary.bytes();
    const ScratchRegion& region = state_.context->scratch();
    return {.planned = fixed + region.planned_bytes(), .used = fixed + region.used_bytes()};
  }

 private:
  StreamState& state_;
};

}  // namespace

std::unique_ptr<Device> MakeDevice(StreamState& state) { return std::make_unique<CudaDevice>(state); }

std::unique_ptr<Scratch> MakeScratch(StreamState& state) { return std::make_unique<CudaScratch>(state); }

}  // namespace longtake::cuda
