// The emulation itself: what it computes, and that it finds the mistakes that its README says it finds.
#include <cmath>
#include <vector>

#include "engine/cuda/context.h"
#include "engine/cuda/warp.h"
#include "gtest/gtest.h"
#include "tests/cuda/emulation/settings.h"

namespace longtake::cuda {
namespace {

using emulation::Order;

class EmulationTest : public testing::Test {
 protected:
  void SetUp() override {
    emulation::Set({});
    context_ = *Context::Create(0);
  }
  void TearDown() override {
    context_ = nullptr;
    emulation::Set({});
  }
  Launcher& launcher() { return context_->launcher(); }

  // Device memory with these numbers.
  float* Device(const std::vector<float>& values) {
    memory_.push_back(*AllocateDevice(values.size() * sizeof(float)));
    cudaMemcpyAsync(memory_.back().get(), values.data(), values.size() * sizeof(float), cudaMemcpyHostToDevice,
                    context_->stream());
    return static_cast<float*>(memory_.back().get());
  }
  std::vector<float> Host(const float* p, size_t n) {
    std::vector<float> values(n);
    EXPECT_EQ(cudaMemcpyAsync(values.data(), p, n * sizeof(float), cudaMemcpyDeviceToHost, context_->stream()),
              cudaSuccess);
    EXPECT_EQ(context_->Synchronize(), absl::OkStatus());
    return values;
  }

  std::unique_ptr<Context> context_;
  std::vector<DeviceMemory> memory_;
};

float Value(int i) { return static_cast<float>(i * 37 % 64 - 31) / 8.f; }  // exact in bf16

// D = A B + D with A [16,16], B [16,8] row-major, from fragments as warp.h lays them out.
__global__ void ProductKernel(const float* A, const float* B, float* D) {
  const int lane = static_cast<int>(threadIdx.x), g = lane / 4, i = lane % 4;
  const auto a_pair = [&](int row, int k) { return PackBf16(A[row * 16 + k], A[row * 16 + k + 1]); };
  const auto b_pair = [&](int k, int column) { return PackBf16(B[k * 8 + column], B[(k + 1) * 8 + column]); };
  const uint32_t a[4] = {a_pair(g, 2 * i), a_pair(g + 8, 2 * i), a_pair(g, 2 * i + 8), a_pair(g + 8, 2 * i + 8)};
  const uint32_t b[2] = {b_pair(2 * i, g), b_pair(2 * i + 8, g)};
  float d[4] = {1.f, 1.f, 1.f, 1.f};
  MmaBf16(d, a, b);
  for (int j = 0; j < 4; ++j) D[(g + j / 2 * 8) * 8 + 2 * i + j % 2] = d[j];
}

__global__ void ProductTf32Kernel(const float* A, const float* B, float* D) {
  const int lane = static_cast<int>(threadIdx.x), g = lane / 4, i = lane % 4;
  const auto a_at = [&](int row, int k) { return ToTf32(A[row * 16 + k]); };
  const uint32_t a[4] = {a_at(g, i), a_at(g + 8, i), a_at(g, i + 4), a_at(g + 8, i + 4)};
  const uint32_t b[2] = {ToTf32(B[i * 8 + g]), ToTf32(B[(i + 4) * 8 + g])};
  float d[4] = {1.f, 1.f, 1.f, 1.f};
  MmaTf32(d, a, b);
  for (int j = 0; j < 4; ++j) D[(g + j / 2 * 8) * 8 + 2 * i + j % 2] = d[j];
}

TEST_F(EmulationTest, ProductsFollowTheFragmentsLayout) {
  std::vector<float> A(256), B(128);
  for (int i = 0; i < 256; ++i) A[i] = Value(i);
  for (int i = 0; i < 128; ++i) B[i] = Value(i + 500);
  for (const int inner : {16, 8}) {
    float* D = Device(std::vector<float>(128));
    launcher().Launch("product", {dim3(1), dim3(32)}, inner == 16 ? ProductKernel : ProductTf32Kernel,
                      static_cast<const float*>(Device(A)), static_cast<const float*>(Device(B)), D);
    const std::vector<float> actual = Host(D, 128);
    for (int row = 0; row < 16; ++row) {
      for (int column = 0; column < 8; ++column) {
        double sum = 1;
        for (int k = 0; k < inner; ++k) sum += double{A[row * 16 + k]} * B[k * 8 + column];
        EXPECT_FLOAT_EQ(actual[row * 8 + column], static_cast<float>(sum)) << row << "," << column << " of " << inner;
      }
    }
  }
}

// Rows of 8x8 matrices through shared memory: the plain load gives MmaBf16's A, the transposed one its B.
__global__ void LoadedProductKernel(const float* A, const float* B, float* D) {
  Bf16* a_shared = SharedMemory<Bf16>();
  Bf16* b_shared = a_shared + 256;
  for (int i = static_cast<int>(threadIdx.x); i < 256; i += 32) a_shared[i] = ToBf16(A[i]);
  for (int i = static_cast<int>(threadIdx.x); i < 128; i += 32) b_shared[i] = ToBf16(B[i]);
  SyncWarp();
  const int lane = static_cast<int>(threadIdx.x), matrix = lane / 8, row = lane % 8;
  uint32_t a[4], b[4];
  LoadMatrix4(a, a_shared + (row + matrix % 2 * 8) * 16 + matrix / 2 * 8);
  LoadMatrix4Transposed(b, b_shared + (row + matrix % 2 * 8) * 8);
  const uint32_t b_both[2] = {b[0], b[1]};
  float d[4] = {1.f, 1.f, 1.f, 1.f};
  MmaBf16(d, a, b_both);
  for (int j = 0; j < 4; ++j) D[(lane / 4 + j / 2 * 8) * 8 + 2 * (lane % 4) + j % 2] = d[j];
}

TEST_F(EmulationTest, MatricesLoadedFromSharedMemoryAreFragments) {
  std::vector<float> A(256), B(128);
  for (int i = 0; i < 256; ++i) A[i] = Value(i);
  for (int i = 0; i < 128; ++i) B[i] = Value(i + 500);
  const float *a = Device(A), *b = Device(B);
  float *plain = Device(std::vector<float>(128)), *loaded = Device(std::vector<float>(128));
  launcher().Launch("product", {dim3(1), dim3(32)}, ProductKernel, a, b, plain);
  launcher().Launch("loaded product", {dim3(1), dim3(32), 768}, LoadedProductKernel, a, b, loaded);
  EXPECT_EQ(Host(plain, 128), Host(loaded, 128));
}

__global__ void SumKernel(const float* x, float* sums, float* most) {
  float* shared = SharedMemory<float>();
  const float v = x[threadIdx.x];
  const float first = BlockSum(v, shared), second = BlockSum(2.f * v, shared);
  sums[threadIdx.x] = first + second;
  most[threadIdx.x] = WarpMax(v);
}

TEST_F(EmulationTest, SumsReachEveryThreadInAnyOrder) {
  std::vector<float> x(96);
  float sum = 0;
  for (int i = 0; i < 96; ++i) sum += x[i] = Value(i);
  for (const Order order : {Order::kAscending, Order::kDescending, Order::kRandom}) {
    emulation::Set({.order = order});
    float *sums = Device(std::vector<float>(96)), *most = Device(std::vector<float>(96));
    launcher().Launch("sum", {dim3(1), dim3(96), 128}, SumKernel, static_cast<const float*>(Device(x)), sums, most);
    for (const float s : Host(sums, 96)) EXPECT_EQ(s, 3 * sum);
    EXPECT_EQ(Host(most, 96)[40], *std::max_element(x.begin() + 32, x.begin() + 64));
  }
}

// Every thread takes its neighbour's number through shared memory.
template <bool kBarrier>
__global__ void NeighbourKernel(float* x) {
  float* shared = SharedMemory<float>();
  shared[threadIdx.x] = static_cast<float>(threadIdx.x);
  if (kBarrier) SyncBlock();
  x[threadIdx.x] = shared[(threadIdx.x + 1) % blockDim.x];
}

TEST_F(EmulationTest, AMissingBarrierIsSeen) {
  int wrong = 0;
  for (const Order order : {Order::kAscending, Order::kDescending, Order::kRandom}) {
    emulation::Set({.order = order});
    float *with = Device(std::vector<float>(64)), *without = Device(std::vector<float>(64));
    launcher().Launch("with", {dim3(1), dim3(64), 256}, NeighbourKernel<true>, with);
    launcher().Launch("without", {dim3(1), dim3(64), 256}, NeighbourKernel<false>, without);
    const std::vector<float> good = Host(with, 64), bad = Host(without, 64);
    for (int i = 0; i < 64; ++i) {
      EXPECT_EQ(good[i], (i + 1) % 64);
      wrong += std::isnan(bad[i]) ? 1 : 0;
    }
  }
  EXPECT_GT(wrong, 64);
}

__global__ void CopyKernel(const float* x, float* y, bool wait) {
  float* shared = SharedMemory<float>();
  CopyAsync16(shared + 4 * threadIdx.x, x + 4 * threadIdx.x, threadIdx.x < 16);
  CommitCopies();
  if (wait) WaitCopies<0>();
  SyncBlock();
  const float v = shared[127 - threadIdx.x];
  SyncBlock();
  WaitCopies<0>();
  y[threadIdx.x] = v;
}

TEST_F(EmulationTest, CopiesLandWhenTheyAreWaitedFor) {
  std::vector<float> x(128, 3.f);
  const float* from = Device(x);
  float *early = Device(x), *late = Device(x);
  launcher().Launch("waits", {dim3(1), dim3(32), 512}, CopyKernel, from, late, true);
  launcher().Launch("does not", {dim3(1), dim3(32), 512}, CopyKernel, from, early, false);
  EXPECT_EQ(Host(late, 32), std::vector<float>(32, 0.f));  // from invalid sources
  for (const float v : Host(early, 32)) EXPECT_TRUE(std::isnan(v));
}

__global__ void ReturnEarlyKernel() {
  if (threadIdx.x > 3) return;
  SyncBlock();
}
__global__ void HalfAWarpKernel() {
  if (threadIdx.x < 16) SyncWarp();
}
__global__ void UnlikeKernel() {
  if (threadIdx.x < 16) {
    SyncWarp();
  } else {
    (void)WarpSum(1.f);
  }
}

TEST_F(EmulationTest, WhatWouldHangEndsTheProgram) {
  const auto run = [&](void (*kernel)()) {
    launcher().Launch("kernel", {dim3(1), dim3(32)}, kernel);
    (void)context_->Synchronize();
  };
  EXPECT_DEATH(run(ReturnEarlyKernel), "nothing can go on|have left the kernel");
  EXPECT_DEATH(run(HalfAWarpKernel), "nothing can go on|returned lane misses");
  EXPECT_DEATH(run(UnlikeKernel), "two unlike collectives");
}

__global__ void AddKernel(float* x, float add) { x[threadIdx.x] += add; }

TEST_F(EmulationTest, AHostPointerIsNoArgument) {
  std::vector<float> host(32);
  launcher().Launch("add", {dim3(1), dim3(32)}, AddKernel, host.data(), 1.f);
  EXPECT_EQ(context_->Synchronize().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(std::string(context_->Synchronize().message()).rfind("add: cudaErrorIllegalAddress", 0), 0u);
}

TEST_F(EmulationTest, AnotherDevicesMemoryIsNoArgument) {
  emulation::Set({.devices = 2});
  const auto other = *Context::Create(1);
  const DeviceMemory memory = *AllocateDevice(128);  // of device 1, which was bound last
  ASSERT_TRUE(context_->Bind().ok());
  launcher().Launch("add", {dim3(1), dim3(32)}, AddKernel, static_cast<float*>(memory.get()), 1.f);
  EXPECT_FALSE(context_->Synchronize().ok());
}

TEST_F(EmulationTest, StreamsAreOrderedByEventsOnly) {
  const Stream second = *MakeStream(true);
  const EventHandle event = *MakeEvent(Wait::kSleeping);
  float* x = Device(std::vector<float>(32, 1.f));
  float* y = Device(std::vector<float>(32, 1.f));
  ASSERT_TRUE(context_->Synchronize().ok());
  for (const bool waits : {false, true}) {
    launcher().Launch("add", {dim3(1), dim3(32)}, AddKernel, x, 1.f);
    if (waits) {
      cudaEventRecord(event.get(), context_->stream());
      cudaStreamWaitEvent(second.get(), event.get(), 0);
    }
    cudaMemcpyAsync(y, x, 128, cudaMemcpyDeviceToDevice, second.get());
    cudaStreamSynchronize(second.get());
    EXPECT_EQ(Host(y, 1)[0], waits ? 3.f : 1.f);
  }
}

TEST_F(EmulationTest, PinnedMemoryIsReadWhenTheCopyRuns) {
  const PinnedMemory pinned = *AllocatePinned(128);
  float* host = static_cast<float*>(pinned.get());
  float* x = Device(std::vector<float>(32));
  host[0] = 1.f;
  cudaMemcpyAsync(x, host, 128, cudaMemcpyHostToDevice, context_->stream());
  host[0] = 2.f;
  EXPECT_EQ(Host(x, 1)[0], 2.f);
}

TEST_F(EmulationTest, AGraphRunsWhatWasCaptured) {
  float* x = Device(std::vector<float>(32));
  ASSERT_TRUE(context_->Synchronize().ok());
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  cudaStreamBeginCapture(context_->stream(), cudaStreamCaptureModeThreadLocal);
  launcher().Launch("add", {dim3(1), dim3(32)}, AddKernel, x, 1.f);
  cudaStreamEndCapture(context_->stream(), &graph);
  ASSERT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  const GraphExec owner(executable);
  cudaGraphDestroy(graph);
  EXPECT_EQ(Host(x, 1)[0], 0.f);
  for (int i = 0; i < 3; ++i) cudaGraphLaunch(executable, context_->stream());
  EXPECT_EQ(Host(x, 1)[0], 3.f);
}

// Writes past either end of an allocation, which need not be a multiple of anything.
TEST_F(EmulationTest, MemoryOutOfBoundsEndsTheProgram) {
  constexpr int kSize = 33;  // floats
  const auto add_at = [&](int first) {
    DeviceMemory memory = *AllocateDevice(kSize * sizeof(float));
    launcher().Launch("add", {dim3(1), dim3(32)}, AddKernel, static_cast<float*>(memory.get()) + first, 1.f);
    EXPECT_EQ(context_->Synchronize(), absl::OkStatus());
  };
  add_at(0);
  add_at(1);
  EXPECT_DEATH(add_at(2), "memory behind an allocation of 132 bytes was written|AddressSanitizer");
  EXPECT_DEATH(
      {
        PinnedMemory memory = *AllocatePinned(5);
        static_cast<char*>(memory.get())[-1] = 0;
      },
      "memory before an allocation of 5 bytes was written|AddressSanitizer");
}

TEST_F(EmulationTest, DeviceMemoryEnds) {
  emulation::Set({.device_bytes = size_t{64} << 20});
  EXPECT_EQ(AllocateDevice(size_t{65} << 20).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(EmulationTest, TheWaitForAPassSleeps) {
  float* x = Device(std::vector<float>(32));
  launcher().Launch("add", {dim3(1), dim3(32)}, AddKernel, x, 1.f);
  const uint64_t spinning = emulation::GetCounts().spinning_waits;
  EXPECT_EQ(context_->Synchronize(context_->Record()), absl::OkStatus());
  EXPECT_EQ(emulation::GetCounts().spinning_waits, spinning);
}

TEST_F(EmulationTest, PlanningLoadsKernelsAndLaunchesNothing) {
  const emulation::Counts before = emulation::GetCounts();
  launcher().PlanFromNowOn();
  launcher().Launch("add", {dim3(1), dim3(32)}, AddKernel, nullptr, 1.f);
  launcher().LaunchFromNowOn();
  EXPECT_EQ(emulation::GetCounts().kernels_loaded, before.kernels_loaded + 1);
  EXPECT_EQ(emulation::GetCounts().launches, before.launches);
}

// What others hold when the stream is made is not the plan's to take; what the stream holds itself is.
TEST_F(EmulationTest, MemoryToPlanWithIsWhatIsFree) {
  constexpr size_t kMiB = size_t{1} << 20;
  emulation::Set({.device_bytes = 512 * kMiB});
  const auto usable = [&] {
    const auto context = *Context::Create(0);
    EXPECT_TRUE(context->MeasureMemory(context->staging().device_bytes()).ok());
    return context->device().memory_bytes;
  };
  const size_t alone = usable();
  EXPECT_LT(alone, 512 * kMiB);
  const DeviceMemory other = *AllocateDevice(64 * kMiB);
  EXPECT_EQ(usable(), alone - 64 * kMiB);
  const DeviceMemory more = *AllocateDevice(420 * kMiB);
  EXPECT_EQ(usable(), 0u);
}

// Tables of many launches through a ring that holds a few of them, the host's copy overwritten each time.
TEST_F(EmulationTest, StagedTablesOutliveTheirSource) {
  const auto staging = *Staging::Create(launcher(), 4096);
  constexpr int kRounds = 100;
  float* x = Device(std::vector<float>(kRounds * 32));
  std::vector<float> table(150);
  for (int round = 0; round < kRounds; ++round) {
    std::fill(table.begin(), table.end(), static_cast<float>(round / 2));  // every second one is the one before
    const float* staged = staging->Put(table);
    cudaMemcpyAsync(x + round * 32, staged, 128, cudaMemcpyDeviceToDevice, context_->stream());
  }
  const std::vector<float> seen = Host(x, kRounds * 32);
  for (int round = 0; round < kRounds; ++round) EXPECT_EQ(seen[round * 32 + 31], round / 2);
  EXPECT_LT(staging->bytes_copied(), kRounds * 600);
}

}  // namespace
}  // namespace longtake::cuda
