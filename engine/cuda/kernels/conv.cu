// Any convolution, tap after tap.
#include "engine/cuda/kernels/conv.h"
#include "engine/cuda/kernels/conv_store.h"
#include "engine/cuda/kernels/dispatch.h"
#include "engine/cuda/kernels/elements.h"
#include "engine/cuda/kernels/fragments.h"

namespace longtake::cuda {
namespace {

constexpr int kPixels = 128;  // of a block
constexpr int kWarps = 8, kThreads = 32 * kWarps;
constexpr int kWarpsDown = 4, kWarpsAcross = kWarps / kWarpsDown;  // a warp has 32 pixels and half the channels

// Of the sum, in shared memory at a time, and how many such steps are there or on their way. With 128 channels four
// steps are 80 KB: two blocks a multiprocessor, one on sm_120 (99 KB). Three steps ahead hide 600 ns of memory behind
// 3 x 64 products of 16 warps.
constexpr int kDepth = 32, kStages = 4;
constexpr int kRow = kDepth + 8;  // 80 bytes: the eight rows of a matrix lie on 32 banks

constexpr size_t SharedBytes(int channels) { return size_t{kStages} * (kPixels + channels) * kRow * sizeof(Bf16); }

// One output pixel's inputs, tap after tap.
struct Pixel {
  int y = 0, x = 0;
  bool inside = false;

  __device__ __forceinline__ Pixel(const ConvLaunch& a, int number) {
    inside = number < a.out_height * a.out_width;
    y = number / a.out_width * a.stride - a.pad_top;
    x = number % a.out_width * a.stride - a.pad_left;
  }
  // The pixel's input at a tap; null for zeros.
  __device__ __forceinline__ const Bf16* Input(const ConvLaunch& a, int tap) const {
    if (!inside || tap >= a.kt * a.kh * a.kw) return nullptr;
    const int dt = tap / (a.kh * a.kw);
    int sy = y + tap / a.kw % a.kh, sx = x + tap % a.kw;
    if (a.reflect != 0) sy = Reflected(sy, a.in_height), sx = Reflected(sx, a.in_width);
    const auto* frame = static_cast<const Bf16*>(a.Frame(dt));
    if (frame == nullptr || sy < 0 || sx < 0 || sy >= a.in_height * a.upsample || sx >= a.in_width * a.upsample) {
      return nullptr;
    }
    return frame + (int64_t{sy / a.upsample} * a.in_width + sx / a.upsample) * a.inputs;
  }
};

// kGranules: inputs are a multiple of 8, so 16 bytes of a row of the sum belong to one tap and are copied as they are.
// Else (three channels) element after element.
template <int kChannels, bool kGranules>
__global__ void __launch_bounds__(kThreads, 2) ConvKernel(ConvLaunch a) {
  constexpr int kTiles = kChannels / kWarpsAcross / 16;  // of 16 channels, of a warp
  constexpr int kRowsApart = kThreads / (kDepth / 8);    // rows that all threads copy at once: 64
  constexpr int kMine = kPixels / kRowsApart;            // of them this thread's: 2
  const int first_pixel = blockIdx.x * kPixels, first_channel = blockIdx.y * kChannels;
  Bf16* pixels = SharedMemory<Bf16>();
  Bf16* weights = pixels + kStages * kPixels * kRow;

  // Where the sum begins must be a multiple of 8.
  const int skipped = kGranules ? a.SkippedFrames() : 0;
  const int begin = skipped * a.kh * a.kw * a.inputs, end = a.kt * a.kh * a.kw * a.inputs;
  const int steps = (end - begin + kDepth - 1) / kDepth;

  // This thread copies 8 elements of the sum of each of its rows, `offset` into a step.
  const int row = threadIdx.x / (kDepth / 8), offset = threadIdx.x % (kDepth / 8) * 8;
  const Pixel mine[kMine] = {Pixel(a, first_pixel + row), Pixel(a, first_pixel + row + kRowsApart)};
  int tap = (begin + offset) / a.inputs, channel = (begin + offset) % a.inputs;
  const Bf16* input[kMine];
#pragma unroll
  for (int r = 0; r < kMine; ++r) input[r] = mine[r].Input(a, tap);

  const auto load = [&](int step) {
    const int stage = step % kStages, k = begin + step * kDepth + offset;
    Bf16* to = pixels + (stage * kPixels + row) * kRow + offset;
    if constexpr (kGranules) {
#pragma unroll
      for (int r = 0; r < kMine; ++r) {
        const bool valid = input[r] != nullptr;
        CopyAsync16(to + r * kRowsApart * kRow, valid ? static_cast<const void*>(input[r] + channel) : a.weight, valid);
      }
      // On to the next step's place in the sum.
      channel += kDepth;
      if (channel >= a.inputs) {
        tap += channel / a.inputs;
        channel %= a.inputs;
#pragma unroll
        for (int r = 0; r < kMine; ++r) input[r] = mine[r].Input(a, tap);
      }
    } else {
#pragma unroll
      for (int r = 0; r < kMine; ++r) {
        for (int e = 0; e < 8; ++e) {
          const Bf16* in = k + e < end ? mine[r].Input(a, (k + e) / a.inputs) : nullptr;
          to[r * kRowsApart * kRow + e] = in == nullptr ? ToBf16(0.f) : in[(k + e) % a.inputs];
        }
      }
    }
    to = weights + (stage * kChannels + row) * kRow + offset;
    for (int r = row; r < kChannels; r += kRowsApart, to += kRowsApart * kRow) {
      const bool valid = first_channel + r < a.outputs && k < a.weight_stride;
      CopyAsync16(to, static_cast<const Bf16*>(a.weight) + (valid ? (first_channel + r) * a.weight_stride + k : 0),
                  valid);
    }
  };

  for (int step = 0; step < kStages - 1; ++step) {
    if (step < steps) load(step);
    CommitCopies();
  }
  const int warp = threadIdx.x / 32;
  const int warp_pixel = warp / kWarpsAcross * 32, warp_channel = warp % kWarpsAcross * 16 * kTiles;
  const LaneAddress by_rows = ByRows(), by_columns = ByColumns();
  float sums[2][2 * kTiles][4] = {};
  for (int step = 0; step < steps; ++step) {
    WaitCopies<kStages - 2>();
    SyncBlock();  // this step's copies are there for all threads, and none reads what the next copies overwrite
    if (step + kStages - 1 < steps) load(step + kStages - 1);
    CommitCopies();
    const int stage = step % kStages;
    const Bf16* left_rows = pixels + (stage * kPixels + warp_pixel + by_rows.row) * kRow + by_rows.column;
    const Bf16* right_rows = weights + (stage * kChannels + warp_channel + by_columns.row) * kRow + by_columns.column;
#pragma unroll
    for (int k = 0; k < kDepth; k += 16) {
      uint32_t left[2][4];
      LoadMatrix4(left[0], left_rows + k);
      LoadMatrix4(left[1], left_rows + 16 * kRow + k);
#pragma unroll
      for (int n = 0; n < kTiles; ++n) {
        uint32_t right[4];
        LoadMatrix4(right, right_rows + 16 * n * kRow + k);
        const uint32_t low[2] = {right[0], right[1]}, high[2] = {right[2], right[3]};
#pragma unroll
        for (int m = 0; m < 2; ++m) {
          MmaBf16(sums[m][2 * n], left[m], low);
          MmaBf16(sums[m][2 * n + 1], left[m], high);
        }
      }
    }
  }

  WaitCopies<0>();

  const int lane_pixel = threadIdx.x % 32 / 4, lane_channel = threadIdx.x % 4 * 2;
  const auto pixel_of = [&](int i) {
    const int pixel = first_pixel + warp_pixel + lane_pixel + 8 * i;
    return pixel < a.out_height * a.out_width ? pixel : -1;
  };
  StoreConv<4, 2 * kTiles>(a, first_channel + warp_channel + lane_channel, pixel_of,
                           [&](int i, int n, int j) { return sums[i / 2][n][i % 2 * 2 + j]; });
}

template <int kChannels>
void Launch(Launcher& launcher, const ConvLaunch& a) {
  const LaunchShape shape = {.grid = dim3(static_cast<unsigned>(DivideUp(int64_t{a.out_height} * a.out_width, kPixels)),
                                          static_cast<unsigned>(DivideUp(a.outputs, kChannels))),
                             .block = dim3(kThreads),
                             .shared_bytes = SharedBytes(kChannels)};
  launcher.Launch("conv", shape, a.inputs % 8 == 0 ? ConvKernel<kChannels, true> : ConvKernel<kChannels, false>, a);
}

// Output channels of a block: those that pad `outputs` least, of equal ones the largest.
int ConvChannels(int outputs) {
  int best = 128;
  for (const int channels : {96, 64, 32}) {
    if (DivideUp(outputs, channels) * channels < DivideUp(outputs, best) * best) best = channels;
  }
  return best;
}

}  // namespace

void RunConv(Launcher& launcher, const ConvLaunch& a) {
  if (FitsConvTile(a)) return RunConvTile(launcher, a);
  ByConvChannels(ConvChannels(a.outputs), [&](auto channels) { Launch<channels()>(launcher, a); });
}

}  // namespace longtake::cuda
