// 3x3 convolutions in space (and any number of taps in time) with stride 1: nearly all of the VAE's work.
//
// A block has 8 x 32 pixels. It brings the inputs under them, with their border, into shared memory once for all nine
// taps, and shifts the addresses that fragments are read from. At 832x480 with 96 channels that reads 0.3 GB of inputs
// and 0.8 GB of weights from the second-level cache a convolution, where tap after tap (conv.cu) reads 2.1 and 1.6: 0.7
// ms at 5.5 TB/s, for products that take 0.4 ms.
#include "engine/cuda/kernels/conv.h"
#include "engine/cuda/kernels/conv_store.h"
#include "engine/cuda/kernels/dispatch.h"
#include "engine/cuda/kernels/elements.h"
#include "engine/cuda/kernels/fragments.h"

namespace longtake::cuda {
namespace {

constexpr int kTileRows = 8, kTileColumns = 32;
constexpr int kWarps = 8, kThreads = 32 * kWarps;
// A warp has two rows of pixels and half the channels: 64 x 64 with 128 channels. Each k of 16 then reads 4 KB of
// shared memory for 64 K multiply-adds, 32 clocks for about 50 of tensor cores; with 32 x 64 it would be 24 for 25.
constexpr int kWarpsAcross = 2, kPixelTiles = 4;

// Input channels at a time. Inputs are double-buffered, weights of one tap four deep: 95 KB with 128 channels, one
// block a multiprocessor by registers (128 sums a thread), and within the 99 KB of sm_120.
constexpr int kDepth = 32, kWeightStages = 4, kTaps = 9;
constexpr int kAhead = kWeightStages - 1;  // taps whose weights are copied before they are read
static_assert(kTaps % kWeightStages == 1);
// A copy is 8 channels: 4 threads have a pixel or a row of weights, and 64 of them are copied at once.
constexpr int kGranules = kDepth / 8, kCopyRows = kThreads / kGranules;
constexpr int kRow = kDepth + 8;  // 80 bytes: the eight rows of a matrix lie on 32 banks

// The inputs under a tile, whatever its place: of upsampled ones, half as many.
template <int kUp>
struct Window {
  static constexpr int kRows = kUp == 1 ? kTileRows + 2 : kTileRows / 2 + 2;
  static constexpr int kColumns = kUp == 1 ? kTileColumns + 2 : kTileColumns / 2 + 2;
  static constexpr int kPixels = kRows * kColumns;
};

template <int kChannels, int kUp>
constexpr size_t SharedBytes() {
  return (size_t{2} * Window<kUp>::kPixels + kWeightStages * kChannels) * kRow * sizeof(Bf16);
}

// Of a position that may be negative.
__device__ __forceinline__ int FloorDivide(int n, int by) { return n >= 0 ? n / by : -((by - 1 - n) / by); }

template <int kChannels, int kUp>
__global__ void __launch_bounds__(kThreads, 1) ConvTileKernel(ConvLaunch a) {
  using W = Window<kUp>;
  constexpr int kTiles = kChannels / kWarpsAcross / 16;  // of 16 channels, of a warp
  const int first_channel = blockIdx.y * kChannels;
  const int across = (a.out_width + kTileColumns - 1) / kTileColumns;
  const int first_row = blockIdx.x / across * kTileRows, first_column = blockIdx.x % across * kTileColumns;
  Bf16* windows = SharedMemory<Bf16>();
  Bf16* weights = windows + 2 * W::kPixels * kRow;

  // The window's first input, and how far into its doubled pixel the tile begins.
  const int top = first_row - a.pad_top, left = first_column - a.pad_left;
  const int in_row = FloorDivide(top, kUp), in_column = FloorDivide(left, kUp);
  const int row_phase = top - in_row * kUp, column_phase = left - in_column * kUp;

  const int skipped = a.SkippedFrames(), chunks = a.inputs / kDepth, all_windows = (a.kt - skipped) * chunks;

  // What this thread copies of a window: 8 channels of some pixels, at the same places of every frame; below 0:
  // outside.
  const int granule = threadIdx.x % kGranules * 8, copy_row = threadIdx.x / kGranules;
  constexpr int kCopies = (W::kPixels + kCopyRows - 1) / kCopyRows;
  static_assert(kCopies < kTaps - 1, "a window's copies are issued two taps before the next begins");
  int places[kCopies];
#pragma unroll
  for (int c = 0; c < kCopies; ++c) {
    const int p = copy_row + c * kCopyRows;
    int y = in_row + p / W::kColumns, x = in_column + p % W::kColumns;
    if (a.reflect != 0) y = Reflected(y, a.in_height), x = Reflected(x, a.in_width);
    const bool inside = y >= 0 && x >= 0 && y < a.in_height && x < a.in_width;
    places[c] = inside ? (y * a.in_width + x) * a.inputs + granule : -1;
  }
  const auto copy_window = [&](int c, int window, const Bf16* from) {
    const int p = copy_row + c * kCopyRows;
    if (p >= W::kPixels) return;
    const bool valid = places[c] >= 0;
    CopyAsync16(windows + (window % 2 * W::kPixels + p) * kRow + granule,
                valid ? static_cast<const void*>(from + places[c]) : a.weight, valid);
  };
  // And of a tap's weights. Rows behind the last output have addresses of the first, which are not read.
  constexpr int kWeightCopies = (kChannels + kCopyRows - 1) / kCopyRows;
  const Bf16* weight_rows[kWeightCopies];
  bool weight_valid[kWeightCopies];
#pragma unroll
  for (int c = 0; c < kWeightCopies; ++c) {
    const int row = first_channel + copy_row + c * kCopyRows;
    weight_valid[c] = row < a.outputs;
    weight_rows[c] = static_cast<const Bf16*>(a.weight) + (weight_valid[c] ? row * a.weight_stride : 0) + granule;
  }
  const auto copy_weights = [&](int stage, int64_t column) {
#pragma unroll
    for (int c = 0; c < kWeightCopies; ++c) {
      const int row = copy_row + c * kCopyRows;
      if (row >= kChannels) continue;
      CopyAsync16(weights + (stage * kChannels + row) * kRow + granule, weight_rows[c] + column, weight_valid[c]);
    }
  };
  // Where a window's weights begin, those of its first tap; its taps are a.inputs apart.
  const auto first_weight = [&](int frame, int chunk) {
    return int64_t{skipped + frame} * kTaps * a.inputs + chunk * kDepth;
  };
  // Channels of a frame from a chunk's first on. Frame() is null for the frames that are skipped alone.
  const auto inputs_of = [&](int frame, int chunk) {
    return static_cast<const Bf16*>(a.Frame(skipped + frame)) + chunk * kDepth;
  };

#pragma unroll
  for (int c = 0; c < kCopies; ++c) copy_window(c, 0, inputs_of(0, 0));
#pragma unroll
  for (int tap = 0; tap < kAhead; ++tap) {
    copy_weights(tap, first_weight(0, 0) + tap * a.inputs);
    CommitCopies();
  }
  const int warp = threadIdx.x / 32;
  const int warp_row = warp / kWarpsAcross * 2, warp_channel = warp % kWarpsAcross * 16 * kTiles;
  const LaneAddress by_rows = ByRows(), by_columns = ByColumns();
  float sums[kPixelTiles][2 * kTiles][4] = {};
  for (int window = 0, frame = 0, chunk = 0; window < all_windows; ++window) {
    const int64_t weights_here = first_weight(frame, chunk);
    if (++chunk == chunks) ++frame, chunk = 0;
    const bool more = window + 1 < all_windows;
    const Bf16* const next = more ? inputs_of(frame, chunk) : nullptr;
    const int64_t weights_next = first_weight(frame, chunk);
    const Bf16* const here = windows + window % 2 * W::kPixels * kRow + by_rows.column;
#pragma unroll
    for (int tap = 0; tap < kTaps; ++tap) {
      WaitCopies<kWeightStages - 2>();
      SyncBlock();  // this tap's copies are there for all threads, and none reads what the next copies overwrite

      // Tile m of pixels is half a row; pixel p of it reads the window at its own place, moved by the tap.
      const Bf16* inputs[kPixelTiles];
#pragma unroll
      for (int m = 0; m < kPixelTiles; ++m) {
        const int y = (row_phase + warp_row + m / 2 + tap / 3) / kUp;
        const int x = (column_phase + m % 2 * 16 + by_rows.row + tap % 3) / kUp;
        inputs[m] = here + (y * W::kColumns + x) * kRow;
      }
      // Nine taps are one more than two turns of the stages.
      const int stage = (window + tap) % kWeightStages;
      const Bf16* right_rows = weights + (stage * kChannels + warp_channel + by_columns.row) * kRow + by_columns.column;
#pragma unroll
      for (int k = 0; k < kDepth; k += 16) {
        uint32_t pixels[kPixelTiles][4];
#pragma unroll
        for (int m = 0; m < kPixelTiles; ++m) LoadMatrix4(pixels[m], inputs[m] + k);
#pragma unroll
        for (int n = 0; n < kTiles; ++n) {
          uint32_t right[4];
          LoadMatrix4(right, right_rows + 16 * n * kRow + k);
          const uint32_t low[2] = {right[0], right[1]}, high[2] = {right[2], right[3]};
#pragma unroll
          for (int m = 0; m < kPixelTiles; ++m) {
            MmaBf16(sums[m][2 * n], pixels[m], low);
            MmaBf16(sums[m][2 * n + 1], pixels[m], high);
          }
        }
        if (k > 0) continue;
        // Behind the first products, so that the tensor cores do not wait for addresses.
        if (more && tap < kCopies) copy_window(tap, window + 1, next);
        const int64_t ahead = tap + kAhead < kTaps ? weights_here + (tap + kAhead) * a.inputs
                                                   : weights_next + (tap + kAhead - kTaps) * a.inputs;
        if (more || tap + kAhead < kTaps) copy_weights((stage + kAhead) % kWeightStages, ahead);
        CommitCopies();
      }
    }
  }
  WaitCopies<0>();

  const int lane_pixel = threadIdx.x % 32 / 4, lane_channel = threadIdx.x % 4 * 2;
  // Pixel i is of tile i / 2, its upper or lower half.
  const auto pixel_of = [&](int i) {
    const int y = first_row + warp_row + i / 4, x = first_column + i / 2 % 2 * 16 + lane_pixel + 8 * (i % 2);
    return y < a.out_height && x < a.out_width ? y * a.out_width + x : -1;
  };
  StoreConv<2 * kPixelTiles, 2 * kTiles>(a, first_channel + warp_channel + lane_channel, pixel_of,
                                         [&](int i, int n, int j) { return sums[i / 2][n][i % 2 * 2 + j]; });
}

int64_t Tiles(const ConvLaunch& a) { return DivideUp(a.out_height, kTileRows) * DivideUp(a.out_width, kTileColumns); }

template <int kChannels, int kUp>
void Launch(Launcher& launcher, const ConvLaunch& a) {
  launcher.Launch("conv_tile",
                  {.grid = dim3(static_cast<unsigned>(Tiles(a)), static_cast<unsigned>(DivideUp(a.outputs, kChannels))),
                   .block = dim3(kThreads),
                   .shared_bytes = SharedBytes<kChannels, kUp>()},
                  ConvTileKernel<kChannels, kUp>, a);
}

}  // namespace

bool FitsConvTile(const ConvLaunch& a) {
  return a.kh == 3 && a.kw == 3 && a.stride == 1 && a.upsample <= 2 && a.inputs % kDepth == 0 &&
         int64_t{a.in_height} * a.in_width * a.inputs <= INT32_MAX;  // places are 32 bits
}

// A multiprocessor has one block at a time. Wide blocks waste less, and narrow ones leave less idle in the last round:
// on 132 multiprocessors 384 channels at 60x104 are 96 blocks of 128 or 128 of 96, and at 120x208 315 blocks of 128, of
// three rounds, or 630 of 64, of five that take half as long.
int ConvTileChannels(const ConvLaunch& a, int multiprocessors) {
  struct Width {
    int channels;
    int clocks;  // of a tap: six for each product of the tensor cores, one for each other instruction (bench.sass)
  };
  constexpr Width kWidths[] = {{128, 458}, {96, 358}, {64, 241}, {32, 147}};
  Width best;
  int64_t least = INT64_MAX;
  for (const Width& width : kWidths) {
    const int64_t rounds = DivideUp(Tiles(a) * DivideUp(a.outputs, width.channels), multiprocessors);
    if (rounds * width.clocks >= least) continue;
    least = rounds * width.clocks;
    best = width;
  }
  return best.channels;
}

void RunConvTile(Launcher& launcher, const ConvLaunch& a) {
  ByConvChannels(ConvTileChannels(a, launcher.multiprocessors()), [&](auto channels) {
    if (a.upsample == 1) {
      Launch<channels(), 1>(launcher, a);
    } else {
      Launch<channels(), 2>(launcher, a);
    }
  });
}

}  // namespace longtake::cuda
