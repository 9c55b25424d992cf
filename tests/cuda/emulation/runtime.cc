// CUDA's runtime API on the host. A stream is a list of work that runs when somebody waits for it.
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <utility>

#include "cuda_platform.h"
#include "tests/cuda/emulation/poison.h"
#include "tests/cuda/emulation/settings.h"

namespace longtake::emulation {

// One recording of an event: done when the stream that it stands in has come to it.
struct Mark {
  StreamState* stream = nullptr;
  bool done = false;
};

struct EventState {
  bool blocking = false;  // whoever waits sleeps
  std::shared_ptr<Mark> mark;
};

struct Work {
  std::function<void()> run;  // null: only waits
  std::shared_ptr<Mark> waits, records;
};

struct StreamState {
  int device = 0;
  std::deque<Work> work;
  std::unique_ptr<std::vector<Work>> capture;  // while work is captured rather than enqueued
};

struct GraphState {
  std::vector<Work> work;
};

namespace {

enum class Place { kDevice, kPinned };
struct Allocation {
  size_t bytes;
  Place place;
  int device;
  uint64_t number;  // as counted when it was made: decides the guards' pattern
};

// An allocation has its exact size, and guard bytes before and behind it. They are compared with their pattern when it
// is freed, which finds every write within 256 bytes of either end; AddressSanitizer finds reads, too, and at once.
constexpr size_t kGuardBytes = 256;  // also the alignment, so that the allocation between them is aligned

// A signalling NaN in bf16 and float32: arithmetic on it stores a quiet one. Unlike those of other allocations, so that
// a copy from one guard to another is seen.
std::byte GuardByte(uint64_t number, size_t i) {
  return i % 2 == 1 ? std::byte{0xff} : static_cast<std::byte>(0x81 + (number + i / 2) % 62);
}

void FillGuard(uint64_t number, std::byte* guard) {
  for (size_t i = 0; i < kGuardBytes; ++i) guard[i] = GuardByte(number, i);
  PoisonMemory(guard, kGuardBytes);
}

void CheckGuard(const Allocation& a, std::byte* guard, const char* where) {
  UnpoisonMemory(guard, kGuardBytes);
  for (size_t i = 0; i < kGuardBytes; ++i) {
    if (guard[i] == GuardByte(a.number, i)) continue;
    std::fprintf(stderr, "emulation: memory %s an allocation of %zu bytes was written (byte %zu of %zu)\n", where,
                 a.bytes, i, kGuardBytes);
    std::abort();
  }
}

// Null where the host has no memory left. Filled with NaN: nobody may read what nobody wrote.
std::byte* AllocateGuarded(size_t bytes, uint64_t number) {
  void* memory = nullptr;
  if (posix_memalign(&memory, kGuardBytes, bytes + 2 * kGuardBytes) != 0) return nullptr;
  std::byte* const data = static_cast<std::byte*>(memory) + kGuardBytes;
  std::memset(data, 0xff, bytes);
  FillGuard(number, data - kGuardBytes);
  FillGuard(number, data + bytes);
  return data;
}

void FreeGuarded(const Allocation& a, std::byte* data) {
  CheckGuard(a, data - kGuardBytes, "before");
  CheckGuard(a, data + a.bytes, "behind");
  std::free(data - kGuardBytes);
}

// All of the emulated machine. One lock for everything: work on different streams never runs at once here.
struct Machine {
  std::recursive_mutex mutex;
  Settings settings;
  Counts counts;
  std::map<uintptr_t, Allocation> allocations;
  std::vector<StreamState*> streams;
  uint32_t random = 1;  // of Streams::kRandom
  std::set<int> failed_devices;
  uint64_t guarded = 0;  // allocations made so far

  bool Failed(const StreamState* stream) const { return stream != nullptr && failed_devices.contains(stream->device); }
};
Settings FromEnvironment() {
  Settings settings;
  if (const char* devices = std::getenv("LONGTAKE_EMULATION_DEVICES")) settings.devices = std::atoi(devices);
  if (const char* streams = std::getenv("LONGTAKE_EMULATION_STREAMS")) {
    settings.streams = streams[0] == 'r' ? Streams::kRandom : Streams::kLate;
  }
  const char* order = std::getenv("LONGTAKE_EMULATION_ORDER");
  if (order == nullptr) return settings;
  settings.order = order[0] == 'd' ? Order::kDescending : order[0] == 'r' ? Order::kRandom : Order::kAscending;
  return settings;
}

// The machine itself, of which a process has one, as it has one CUDA driver.
Machine& TheMachine() {
  static Machine machine{.settings = FromEnvironment()};
  return machine;
}
thread_local int current_device = 0;

using Lock = std::lock_guard<std::recursive_mutex>;

const Allocation* Find(const void* p) {
  auto& all = TheMachine().allocations;
  auto it = all.upper_bound(reinterpret_cast<uintptr_t>(p));
  if (it == all.begin()) return nullptr;
  --it;
  // The end of a piece may be pointed to.
  return reinterpret_cast<uintptr_t>(p) <= it->first + it->second.bytes ? &it->second : nullptr;
}

bool Inside(const void* p, size_t bytes, Place place) {
  auto& all = TheMachine().allocations;
  auto it = all.upper_bound(reinterpret_cast<uintptr_t>(p));
  if (it == all.begin()) return false;
  --it;
  return it->second.place == place && reinterpret_cast<uintptr_t>(p) + bytes <= it->first + it->second.bytes;
}

// Of a device's memory.
size_t Available(int device) {
  size_t used = 0;
  for (const auto& [address, a] : TheMachine().allocations) {
    if (a.place == Place::kDevice && a.device == device) used += a.bytes;
  }
  return Get().device_bytes - std::min(used, Get().device_bytes);
}

void RunFirst(StreamState* stream);

// A piece of any stream's work that can go on.
void RunAny() {
  Machine& machine = TheMachine();
  std::vector<StreamState*> ready;
  for (StreamState* stream : machine.streams) {
    if (stream->work.empty()) continue;
    const Mark* waits = stream->work.front().waits.get();
    if (waits == nullptr || waits->done) ready.push_back(stream);
  }
  if (ready.empty()) {
    std::fprintf(stderr, "emulation: all streams wait\n");
    std::abort();
  }
  machine.random = machine.random * 1664525u + 1013904223u + machine.settings.seed;
  RunFirst(ready[(machine.random >> 16) % ready.size()]);
}

void RunUntil(const std::shared_ptr<Mark>& mark) {
  while (!mark->done) {
    if (Get().streams == Streams::kRandom) RunAny();
    if (mark->done) return;
    if (mark->stream == nullptr || mark->stream->work.empty()) {
      std::fprintf(stderr, "emulation: an event is waited for that never comes\n");
      std::abort();
    }
    RunFirst(mark->stream);
  }
}

void RunFirst(StreamState* stream) {
  // What waits stays in front meanwhile, so that nothing behind it is run.
  while (!stream->work.empty()) {
    const std::shared_ptr<Mark> waits = stream->work.front().waits;
    if (waits == nullptr || waits->done) break;
    RunUntil(waits);
  }
  if (stream->work.empty()) return;
  Work work = std::move(stream->work.front());
  stream->work.pop_front();
  if (work.run) work.run();
  if (work.records != nullptr) work.records->done = true;
}

void Drain(StreamState* stream) {
  while (!stream->work.empty()) {
    if (Get().streams == Streams::kRandom) {
      RunAny();
    } else {
      RunFirst(stream);
    }
  }
}

cudaError_t Enqueue(Work work, StreamState* stream) {
  if (stream == nullptr) {
    std::fprintf(stderr, "emulation: the default stream is used, which would wait for all others\n");
    std::abort();
  }
  if (stream->capture != nullptr) {
    if (work.waits != nullptr || work.records != nullptr) return cudaErrorStreamCaptureUnsupported;
    stream->capture->push_back(std::move(work));
  } else {
    stream->work.push_back(std::move(work));
  }
  return cudaSuccess;
}

// Words of an argument that look like addresses of this process (47 bits, from the lowest that programs are loaded at)
// and lie in no memory of the device.
bool PointsElsewhere(const ArgumentBytes& argument, int device, uint64_t* found) {
  for (size_t at = 0; at + 8 <= argument.size; at += 8) {
    std::memcpy(found, static_cast<const std::byte*>(argument.data) + at, 8);
    if (*found < 0x500000000000u || *found > 0x7fffffffffffu) continue;
    const Allocation* a = Find(reinterpret_cast<const void*>(*found));
    if (a == nullptr || a->place != Place::kDevice || a->device != device) return true;
  }
  return false;
}

}  // namespace

void Set(const Settings& settings) {
  const Lock lock(TheMachine().mutex);
  TheMachine().settings = settings;
}
const Settings& Get() { return TheMachine().settings; }
Counts GetCounts() {
  const Lock lock(TheMachine().mutex);
  return TheMachine().counts;
}

cudaError_t LaunchBlocks(std::function<void()> kernel, const std::vector<ArgumentBytes>& arguments, dim3 grid,
                         dim3 block, size_t shared_bytes, cudaStream_t stream) {
  const Lock lock(TheMachine().mutex);
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  // The limits of devices of compute capability 9.0 and later; 227 KiB of shared memory, on 12.0 but 99.
  if (threads == 0 || threads > 1024 || block.z > 64 || grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535 ||
      shared_bytes > 227 * 1024) {
    return cudaErrorInvalidValue;
  }
  if (TheMachine().Failed(stream)) return cudaErrorIllegalAddress;
  if (stream != nullptr) {
    for (size_t i = 0; i < arguments.size(); ++i) {
      uint64_t found = 0;
      if (PointsElsewhere(arguments[i], stream->device, &found)) {
        std::fprintf(stderr, "emulation: argument %zu of a kernel holds %#lx, which is not this device's memory\n", i,
                     static_cast<unsigned long>(found));
        return cudaErrorIllegalAddress;
      }
    }
  }
  ++TheMachine().counts.launches;
  return Enqueue({.run =
                      [kernel = std::move(kernel), grid, block, shared_bytes] {
                        const int64_t count = int64_t{grid.x} * grid.y * grid.z;
                        BlockRunner& runner = BlockRunner::Make();
                        const bool backwards = Get().order == Order::kDescending;
                        for (int64_t i = 0; i < count; ++i) {
                          const auto n = static_cast<unsigned>(backwards ? count - 1 - i : i);
                          runner.Run(kernel, {grid.x, grid.y, grid.z}, {block.x, block.y, block.z},
                                     {n % grid.x, n / grid.x % grid.y, n / (grid.x * grid.y)}, shared_bytes);
                        }
                        TheMachine().counts.blocks += static_cast<uint64_t>(count);
                      }},
                 stream);
}

cudaError_t EnqueueWork(std::function<void()> work, cudaStream_t stream) {
  const Lock lock(TheMachine().mutex);
  return Enqueue({.run = std::move(work)}, stream);
}

}  // namespace longtake::emulation

using namespace longtake::emulation;  // NOLINT: what follows is the C interface

void LongtakeEmulationFail(int device, bool fails) {
  const Lock lock(TheMachine().mutex);
  if (fails) {
    TheMachine().failed_devices.insert(device);
  } else {
    TheMachine().failed_devices.erase(device);
  }
  // Nothing runs of what was queued before it failed or while it had: who waits for it is told of the failure, and may
  // have freed the memory since.
  for (StreamState* stream : TheMachine().streams) {
    if (stream->device != device) continue;
    for (Work& work : stream->work) work.run = nullptr;
  }
}

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorNoKernelImageForDevice:
      return "cudaErrorNoKernelImageForDevice";
    case cudaErrorIllegalAddress:
      return "cudaErrorIllegalAddress";
    default:
      return "another error";
  }
}
const char* cudaGetErrorString(cudaError_t) { return "of the host's emulation"; }

cudaError_t cudaGetDeviceCount(int* count) {
  *count = Get().devices;
  return *count == 0 ? cudaErrorNoDevice : cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device < 0 || device >= Get().devices) return cudaErrorInvalidDevice;
  *properties = {};
  std::snprintf(properties->name, sizeof properties->name, "host emulation");
  properties->major = Get().capability / 10;
  properties->minor = Get().capability % 10;
  properties->multiProcessorCount = 4;
  properties->totalGlobalMem = Get().device_bytes;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= Get().devices) return cudaErrorInvalidDevice;
  current_device = device;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* available, size_t* total) {
  const Lock lock(TheMachine().mutex);
  *total = Get().device_bytes;
  *available = Available(current_device);
  return cudaSuccess;
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}
cudaError_t cudaGetLastError() { return cudaSuccess; }
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
  const Lock lock(TheMachine().mutex);
  if (Get().capability > 0 && Get().capability < 90) return cudaErrorNoKernelImageForDevice;
  ++TheMachine().counts.kernels_loaded;
  *attributes = {.numRegs = 1};
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
  const Lock lock(TheMachine().mutex);
  for (StreamState* stream : TheMachine().streams) {
    if (stream->device == current_device) Drain(stream);
  }
  return cudaSuccess;
}

namespace {

cudaError_t Allocate(void** data, size_t bytes, Place place) {
  Machine& machine = TheMachine();
  const Allocation allocation{bytes, place, current_device, machine.guarded++};
  std::byte* const memory = AllocateGuarded(bytes, allocation.number);
  if (memory == nullptr) return cudaErrorMemoryAllocation;
  machine.allocations[reinterpret_cast<uintptr_t>(memory)] = allocation;
  *data = memory;
  return cudaSuccess;
}

cudaError_t Free(void* data, Place place) {
  auto& allocations = TheMachine().allocations;
  const auto it = allocations.find(reinterpret_cast<uintptr_t>(data));
  if (it == allocations.end() || it->second.place != place) return cudaErrorInvalidValue;
  const Allocation allocation = it->second;
  allocations.erase(it);
  if (place == Place::kDevice) TheMachine().counts.allocated_bytes -= allocation.bytes;
  FreeGuarded(allocation, static_cast<std::byte*>(data));
  return cudaSuccess;
}

}  // namespace

cudaError_t cudaMalloc(void** data, size_t bytes) {
  const Lock lock(TheMachine().mutex);
  if (bytes > Available(current_device)) return cudaErrorMemoryAllocation;
  if (const cudaError_t error = Allocate(data, bytes, Place::kDevice); error != cudaSuccess) return error;
  Counts& counts = TheMachine().counts;
  ++counts.allocations;
  counts.allocated_bytes += bytes;
  counts.most_allocated_bytes = std::max(counts.most_allocated_bytes, counts.allocated_bytes);
  return cudaSuccess;
}
cudaError_t cudaFree(void* data) {
  if (data == nullptr) return cudaSuccess;
  const Lock lock(TheMachine().mutex);
  cudaDeviceSynchronize();
  return Free(data, Place::kDevice);
}
cudaError_t cudaMallocHost(void** data, size_t bytes) {
  const Lock lock(TheMachine().mutex);
  return Allocate(data, bytes, Place::kPinned);
}
cudaError_t cudaFreeHost(void* data) {
  if (data == nullptr) return cudaSuccess;
  const Lock lock(TheMachine().mutex);
  return Free(data, Place::kPinned);
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  const Lock lock(TheMachine().mutex);
  if (bytes == 0) return cudaSuccess;
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (to_device != Inside(to, bytes, Place::kDevice) || from_device != Inside(from, bytes, Place::kDevice)) {
    return cudaErrorInvalidValue;
  }
  if (!from_device && !Inside(from, bytes, Place::kPinned)) {
    // Pageable memory is read before the call returns.
    std::vector<std::byte> copy(static_cast<const std::byte*>(from), static_cast<const std::byte*>(from) + bytes);
    return Enqueue({.run = [to, copy = std::move(copy)] { std::memcpy(to, copy.data(), copy.size()); }}, stream);
  }
  if (!to_device && !Inside(to, bytes, Place::kPinned)) {
    // And written before it returns.
    if (stream->capture != nullptr) return cudaErrorStreamCaptureUnsupported;
    Drain(stream);
    std::memcpy(to, from, bytes);
    return cudaSuccess;
  }
  return Enqueue({.run = [to, from, bytes] { std::memmove(to, from, bytes); }}, stream);
}
cudaError_t cudaMemsetAsync(void* data, int value, size_t bytes, cudaStream_t stream) {
  const Lock lock(TheMachine().mutex);
  if (bytes == 0) return cudaSuccess;
  if (!Inside(data, bytes, Place::kDevice)) return cudaErrorInvalidValue;
  return Enqueue({.run = [=] { std::memset(data, value, bytes); }}, stream);
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) {
  const Lock lock(TheMachine().mutex);
  *stream = new StreamState{.device = current_device, .work = {}, .capture = nullptr};
  TheMachine().streams.push_back(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const Lock lock(TheMachine().mutex);
  Drain(stream);
  std::erase(TheMachine().streams, stream);
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const Lock lock(TheMachine().mutex);
  if (stream->capture != nullptr) return cudaErrorStreamCaptureUnsupported;
  Drain(stream);
  return TheMachine().Failed(stream) ? cudaErrorIllegalAddress : cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const Lock lock(TheMachine().mutex);
  if (event->mark == nullptr) return cudaSuccess;
  return Enqueue({.run = nullptr, .waits = event->mark}, stream);
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = new EventState{.blocking = (flags & cudaEventBlockingSync) != 0, .mark = nullptr};
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const Lock lock(TheMachine().mutex);
  event->mark = std::make_shared<Mark>(Mark{.stream = stream});
  return Enqueue({.run = nullptr, .waits = nullptr, .records = event->mark}, stream);
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const Lock lock(TheMachine().mutex);
  if (!event->blocking) ++TheMachine().counts.spinning_waits;
  if (event->mark != nullptr) RunUntil(event->mark);
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  const Lock lock(TheMachine().mutex);
  if (begin->mark == nullptr || end->mark == nullptr) return cudaErrorInvalidValue;
  if (!begin->mark->done || !end->mark->done) return cudaErrorNotReady;
  *milliseconds = 1.f;  // no device, no time
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  const Lock lock(TheMachine().mutex);
  if (stream->capture != nullptr) return cudaErrorStreamCaptureUnsupported;
  stream->capture = std::make_unique<std::vector<Work>>();
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const Lock lock(TheMachine().mutex);
  if (stream->capture == nullptr) return cudaErrorInvalidValue;
  if (Get().invalidates_captures) {
    stream->capture = nullptr;
    *graph = nullptr;
    return cudaErrorStreamCaptureInvalidated;
  }
  *graph = new GraphState{std::move(*stream->capture)};
  stream->capture = nullptr;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  const Lock lock(TheMachine().mutex);
  *executable = new GraphState(*graph);
  ++TheMachine().counts.graphs;
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  const Lock lock(TheMachine().mutex);
  ++TheMachine().counts.graph_launches;
  for (const Work& work : executable->work) {
    if (const cudaError_t error = Enqueue(work, stream); error != cudaSuccess) return error;
  }
  return cudaSuccess;
}
