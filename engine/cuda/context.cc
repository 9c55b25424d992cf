#include "engine/cuda/context.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/cuda/kernels/pointwise.h"
#include "engine/cuda/status.h"

namespace longtake::cuda {
namespace {

// Tables of a pass: 4 bytes a token for modulation rows, 15 600 tokens at 480p; a few hundred bytes a session. A
// quarter of the ring holds those of 500 000 tokens.
constexpr size_t kStagingBytes = size_t{8} << 20;
// Kept: a handful of sessions of one size make as many kinds of passes as there are numbers of sessions in a batch,
// with and without commits among them.
constexpr size_t kMostGraphs = 32;

// Left for what the driver allocates later: code of kernels that are loaded when they are first planned or launched
// (the library has 17 MB, cuBLASLt's kernels about 1 MB each) and kernels' spilled registers.
constexpr size_t kReservedBytes = size_t{256} << 20;

}  // namespace

absl::StatusOr<std::unique_ptr<Context>> Context::Create(int device, bool urgent, bool graphs) {
  int count = 0;
  RETURN_IF_ERROR(ToStatus(cudaGetDeviceCount(&count), "devices"));
  if (device < 0 || device >= count) {
    return absl::NotFoundError(absl::StrCat("device: ", device, " is not among the ", count, " of this machine"));
  }
  std::unique_ptr<Context> context(new Context());
  DeviceInfo& info = context->device_;
  info.index = device;
  RETURN_IF_ERROR(context->Bind());
  cudaDeviceProp properties;
  RETURN_IF_ERROR(ToStatus(cudaGetDeviceProperties(&properties, device), "device properties"));
  info.name = properties.name;
  info.compute_capability = properties.major * 10 + properties.minor;
  info.multiprocessors = properties.multiProcessorCount;
  RETURN_IF_ERROR(
      ToStatus(CheckKernelsLoad(), absl::StrCat("kernels for ", info.name, ", sm_", info.compute_capability)));
  ASSIGN_OR_RETURN(context->stream_, MakeStream(urgent));
  context->launcher_ = std::make_unique<Launcher>(context->stream_.get(), device, info.multiprocessors);
  for (EventHandle& event : context->events_) {
    // One thread a stream waits for passes; spinning, two of them would take two cores from network and encoders.
    ASSIGN_OR_RETURN(event, MakeEvent(Wait::kSleeping));
  }
  context->scratch_ = std::make_unique<ScratchRegion>(*context->launcher_);
  ASSIGN_OR_RETURN(context->staging_, Staging::Create(*context->launcher_, kStagingBytes, graphs));
  if (graphs) {
    context->graphs_ = std::make_unique<PassGraphs>(*context->launcher_, *context->staging_, kMostGraphs);
  }
  return context;
}

absl::Status Context::MeasureMemory(size_t held_bytes) {
  RETURN_IF_ERROR(Bind());
  size_t available = 0, total = 0;
  RETURN_IF_ERROR(ToStatus(cudaMemGetInfo(&available, &total), "device memory"));
  const size_t usable = available + held_bytes;
  device_.memory_bytes = usable - std::min(usable, kReservedBytes);
  return absl::OkStatus();
}

absl::Status Context::Bind() const { return ToStatus(cudaSetDevice(device_.index), "device"); }

absl::Status Context::Synchronize() {
  launcher_->Check(cudaStreamSynchronize(stream_.get()), "waiting for the device");
  const Launcher::Failure failure = launcher_->failure();
  return ToStatus(failure.error, failure.where);
}

Event Context::Record() {
  ++recorded_;
  if (launcher_->Bind()) launcher_->Check(cudaEventRecord(HandleOf(recorded_), stream_.get()), "event");
  return recorded_;
}

absl::Status Context::Synchronize(Event event) {
  if (event > 0) launcher_->Check(cudaEventSynchronize(HandleOf(event)), "waiting for the device");
  const Launcher::Failure failure = launcher_->failure();
  return ToStatus(failure.error, failure.where);
}

void Context::WaitFor(const Context& other, Event event) {
  if (event == 0 || &other == this || !launcher_->Bind()) return;
  launcher_->Check(cudaStreamWaitEvent(stream_.get(), other.HandleOf(event), 0), "waiting for another stream");
}

}  // namespace longtake::cuda
