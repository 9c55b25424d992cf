// longtake-probe-cuda: what a device and its libraries do, without the engine. A line as each thing is known.
//
//   longtake-probe-cuda [DEVICE]
//
// Each function of engine/cuda/warp.h against its definition, the rate of copies on the device, and the transformer's
// matrix products. Exit 1 where something is not as the engine needs it.
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "bench/cuda_probe/products.h"
#include "bench/cuda_probe/warp_checks.h"
#include "cuda_platform.h"

namespace longtake::probe {
namespace {

bool Failed(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return false;
  std::printf("%s: %s: %s\n", what, cudaGetErrorName(error), cudaGetErrorString(error));
  return true;
}

// Bytes read and written a second, of copies of half of what is free, at most 4 GiB.
void ProbeCopies(cudaStream_t stream) {
  size_t available = 0, total = 0;
  if (Failed(cudaMemGetInfo(&available, &total), "memory")) return;
  std::printf("memory: %zu MiB free of %zu\n", available >> 20, total >> 20);
  const size_t bytes = std::min(available / 16, size_t{4} << 30);
  void *from = nullptr, *to = nullptr;
  cudaEvent_t begin = nullptr, end = nullptr;
  if (Failed(cudaMalloc(&from, bytes), "copies") || Failed(cudaMalloc(&to, bytes), "copies")) return;
  cudaEventCreateWithFlags(&begin, cudaEventDefault);
  cudaEventCreateWithFlags(&end, cudaEventDefault);
  constexpr int kCopies = 4;
  for (int i = 0; i <= kCopies; ++i) {
    if (i == 1) cudaEventRecord(begin, stream);  // the first warms
    cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream);
  }
  cudaEventRecord(end, stream);
  cudaEventSynchronize(end);
  float milliseconds = 0;
  if (!Failed(cudaEventElapsedTime(&milliseconds, begin, end), "copies")) {
    std::printf("copies: %.2f TB/s read and written\n", 2e-9 * kCopies * static_cast<double>(bytes) / milliseconds);
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  cudaFree(from);
  cudaFree(to);
}

int Run(int device) {
  cudaDeviceProp properties;
  cudaStream_t stream = nullptr;
  if (Failed(cudaSetDevice(device), "device") || Failed(cudaGetDeviceProperties(&properties, device), "device") ||
      Failed(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, 0), "stream")) {
    return 1;
  }
  std::printf("device: %s, sm_%d%d, %d multiprocessors\n", properties.name, properties.major, properties.minor,
              properties.multiProcessorCount);
  bool good = true;
  for (const WarpCheck& check : CheckWarpFunctions(stream)) {
    std::printf("%s: %s\n", check.name.c_str(), check.failure.empty() ? "as defined" : check.failure.c_str());
    good &= check.failure.empty();
  }
  std::fflush(stdout);
  ProbeCopies(stream);
  std::fflush(stdout);
  good &= ProbeProducts(stream, properties.major * 10 + properties.minor);
  cudaStreamDestroy(stream);
  return good ? 0 : 1;
}

}  // namespace
}  // namespace longtake::probe

int main(int argc, char** argv) { return longtake::probe::Run(argc > 1 ? std::atoi(argv[1]) : 0); }
