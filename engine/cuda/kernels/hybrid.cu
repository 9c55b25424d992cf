#include "engine/cuda/kernels/dispatch.h"
#include "engine/cuda/kernels/elements.h"
#include "engine/cuda/kernels/hybrid.h"
#include "engine/cuda/kernels/rotation.h"

namespace longtake::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kSums = 32;  // floats of shared memory that BlockSum needs

// A block has a row. Its sources are read twice: first for their scores, then, from the second-level cache, for the
// sum; five sources of 2560 columns take 50 KB.
__global__ void __launch_bounds__(kThreads)
    DepthAttentionKernel(const DepthSource* sources, int count, const float* weight, float eps, int columns, float* out,
                         int64_t out_stride) {
  float* shared = SharedMemory<float>();
  float* scores = shared + kSums;
  const int64_t n = blockIdx.x;
  for (int m = 0; m < count; ++m) {
    const float* x = sources[m].data + n * sources[m].stride;
    float dot = 0.f, squares = 0.f;
    for (int i = threadIdx.x; i < columns; i += kThreads) {
      dot += weight[i] * x[i];
      squares += x[i] * x[i];
    }
    dot = BlockSum(dot, shared);
    squares = BlockSum(squares, shared);
    if (threadIdx.x == 0) scores[m] = dot / sqrtf(squares / static_cast<float>(columns) + eps);
  }
  SyncBlock();
  float top = scores[0];
  for (int m = 1; m < count; ++m) top = fmaxf(top, scores[m]);
  SyncBlock();  // all threads have read the scores, which become factors
  const int mine = static_cast<int>(threadIdx.x);
  if (mine < count) scores[mine] = FastExp2((scores[mine] - top) * 1.4426950408889634f);
  SyncBlock();
  float total = 0.f;
  for (int m = 0; m < count; ++m) total += scores[m];
  for (int i = threadIdx.x; i < columns; i += kThreads) {
    float sum = 0.f;
    for (int m = 0; m < count; ++m) sum += scores[m] * sources[m].data[n * sources[m].stride + i];
    out[n * out_stride + i] = sum / total;
  }
}

// A block has a share's tokens, a thread a pair of columns.
__global__ void __launch_bounds__(kThreads) RotateOnGridKernel(RotateOnGridLaunch a) {
  const Share share = a.shares[blockIdx.x];
  if (share.segment < 0) return;
  const GridSegment grid = a.segments[share.segment];
  const int tokens = min(kRotatedTokens, grid.frames * grid.height * grid.width - share.first);
  const int row_pairs = a.heads * a.head_dim / 2;  // of q, of k and of v
  for (int e = threadIdx.x; e < tokens * 3 * row_pairs; e += kThreads) {
    const int token = share.first + e / (3 * row_pairs), part = e / row_pairs % 3, column = e % row_pairs * 2;
    const int64_t row = grid.first_row + token, at = int64_t{part} * 2 * row_pairs + column;
    float x[2];
    Load<2>(RowAt<float>(a.qkv, row) + at, x);
    if (part < 2) {
      const Place place = PlaceOf(grid, token, part == 0 ? a.q_inverse : a.k_inverse);
      const float* weight = (part == 0 ? a.q_weight : a.k_weight) + column;
      const float normed[2] = {x[0] * place.inverse * weight[0], x[1] * place.inverse * weight[1]};
      Rotate(normed, PairRotation(a.rotary, column % a.head_dim / 2).At(place), x);
    }
    Store<2>(RowAt<Bf16>(a.out, row) + at, x);
  }
}

// A warp has a head of a row, or, without a norm, some of its columns. `y` may be `x` or `gate`: a lane writes what it
// alone has read.
__global__ void __launch_bounds__(kThreads)
    GateHeadsKernel(Rows x, Rows gate, const float* weight, float eps, int head_dim, MutableRows y) {
  const int lane = threadIdx.x % 32;
  const int64_t first = (int64_t{blockIdx.y} * (kThreads / 32) + threadIdx.x / 32) * head_dim;
  if (first >= y.columns) return;
  const int count = static_cast<int>(min(int64_t{head_dim}, y.columns - first));
  const int64_t n = blockIdx.x;
  const Bf16* from = RowAt<Bf16>(x, n) + first;
  const Bf16* gates = RowAt<Bf16>(gate, n) + first;
  Bf16* to = RowAt<Bf16>(y, n) + first;
  float inverse = 1.f;
  if (weight != nullptr) {
    float squares = 0.f;
    for (int i = lane; i < count; i += 32) squares += ToFloat(from[i]) * ToFloat(from[i]);
    inverse = 1.f / sqrtf(WarpSum(squares) / static_cast<float>(head_dim) + eps);
  }
  for (int i = lane; i < count; i += 32) {
    const float factor = weight == nullptr ? 1.f : inverse * weight[i];
    to[i] = ToBf16(ToFloat(from[i]) * factor * ToFloat(gates[i]));
  }
}

__global__ void __launch_bounds__(kThreads)
    AddBranchKernel(Rows x, const float* gate, int64_t gate_stride, const int32_t* mod_row, int begins,
                    MutableRows stream, MutableRows branch) {
  const int64_t n = blockIdx.x;
  const int i = blockIdx.y * kThreads + threadIdx.x;
  if (i >= x.columns) return;
  const float value = gate[mod_row[n] * gate_stride + i] * RowAt<float>(x, n)[i];
  RowAt<float>(stream, n)[i] += value;
  float* to = RowAt<float>(branch, n) + i;
  *to = begins != 0 ? value : *to + value;
}

}  // namespace

void RunDepthAttention(Launcher& launcher, const DepthSource* sources, int count, const float* weight, float eps,
                       Mat out) {
  launcher.Launch("depth_attention",
                  {.grid = dim3(static_cast<unsigned>(out.rows)),
                   .block = dim3(kThreads),
                   .shared_bytes = (kSums + kMostDepthSources) * sizeof(float)},
                  DepthAttentionKernel, sources, count, weight, eps, static_cast<int>(out.cols),
                  static_cast<float*>(out.data), out.stride);
}

void RunRotateOnGrid(Launcher& launcher, const RotateOnGridLaunch& a) {
  launcher.Launch("rotate_on_grid", {.grid = dim3(static_cast<unsigned>(a.share_count)), .block = dim3(kThreads)},
                  RotateOnGridKernel, a);
}

void RunGateHeads(Launcher& launcher, ConstMat x, ConstMat gate, const float* weight, float eps, int head_dim, Mat y) {
  // The FFN's gate is one head of 10 240 columns.
  if (weight == nullptr) head_dim = 256;
  const int64_t heads = DivideUp(y.cols, head_dim);
  launcher.Launch("gate_heads",
                  {.grid = dim3(static_cast<unsigned>(y.rows), static_cast<unsigned>(DivideUp(heads, kThreads / 32))),
                   .block = dim3(kThreads)},
                  GateHeadsKernel, RowsOf(x), RowsOf(gate), weight, eps, head_dim, RowsOf(y));
}

void RunAddBranch(Launcher& launcher, ConstMat x, const float* gate, int64_t gate_stride, const int32_t* mod_row,
                  bool begins, Mat stream, Mat branch) {
  launcher.Launch("add_branch",
                  {.grid = dim3(static_cast<unsigned>(x.rows), static_cast<unsigned>(DivideUp(x.cols, kThreads))),
                   .block = dim3(kThreads)},
                  AddBranchKernel, RowsOf(x), gate, gate_stride, mod_row, static_cast<int>(begins), RowsOf(stream),
                  RowsOf(branch));
}

}  // namespace longtake::cuda
