#include "engine/cuda/handles.h"

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/cuda/status.h"

namespace longtake::cuda {
namespace {

absl::StatusOr<EventHandle> EventOf(unsigned flags) {
  cudaEvent_t event = nullptr;
  RETURN_IF_ERROR(ToStatus(cudaEventCreateWithFlags(&event, flags), "event"));
  return EventHandle(event);
}

}  // namespace

absl::StatusOr<Stream> MakeStream(bool high_priority) {
  int least = 0, greatest = 0;
  RETURN_IF_ERROR(ToStatus(cudaDeviceGetStreamPriorityRange(&least, &greatest), "stream priorities"));
  cudaStream_t stream = nullptr;
  RETURN_IF_ERROR(ToStatus(
      cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, high_priority ? greatest : least), "stream"));
  return Stream(stream);
}

absl::StatusOr<EventHandle> MakeEvent(Wait wait) {
  return EventOf(cudaEventDisableTiming | (wait == Wait::kSleeping ? cudaEventBlockingSync : 0u));
}

absl::StatusOr<EventHandle> MakeTimingEvent() { return EventOf(cudaEventDefault); }

absl::StatusOr<DeviceMemory> AllocateDevice(size_t bytes) {
  if (bytes == 0) return DeviceMemory();
  void* data = nullptr;
  RETURN_IF_ERROR(ToStatus(cudaMalloc(&data, bytes), absl::StrCat("device memory of ", bytes, " bytes")));
  return DeviceMemory(data);
}

absl::StatusOr<PinnedMemory> AllocatePinned(size_t bytes) {
  if (bytes == 0) return PinnedMemory();
  void* data = nullptr;
  RETURN_IF_ERROR(ToStatus(cudaMallocHost(&data, bytes), absl::StrCat("pinned memory of ", bytes, " bytes")));
  return PinnedMemory(data);
}

}  // namespace longtake::cuda
