// The fused operations that every model is written on, and the one interface that a backend implements.
//
// `reference/` is the definition: plain scalar float32 loops. `cpu/` is compared with it. Model code (models/) never
// touches memory that these views point to; it moves data with Upload and Download only, so that the memory may be a
// device's.
//
// Results of a row (a token, a pixel) never depend on which other rows stand beside it, on how many there are, or on
// the thread count: no operation splits a sum by any of these. That makes a session's bytes independent of its batch.
//
// Conventions: `N` tokens packed along rows; `D` model width; `h` heads of `d`; "act" is activation_type(). Pointers to
// `float` are backend memory too. Unless said, an operation may not write where it reads.
#ifndef LONGTAKE_ENGINE_OPS_OPS_H_
#define LONGTAKE_ENGINE_OPS_OPS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/core/tensor.h"

namespace longtake {

// Owner of a piece of backend memory, aligned to 64 bytes, zeroed. Movable.
class Buffer {
 public:
  virtual ~Buffer() = default;
  virtual void* data() = 0;
  virtual size_t size() const = 0;
  float* f32() { return static_cast<float*>(data()); }
};

// Plain memory of the host.
class HeapBuffer : public Buffer {
 public:
  explicit HeapBuffer(size_t bytes) : bytes_(bytes), data_(new std::byte[bytes]) {}
  void* data() override { return data_.get(); }
  size_t size() const override { return bytes_; }

 private:
  size_t bytes_;
  std::unique_ptr<std::byte[]> data_;
};

// ---- Weights, packed once at load -----------------------------------------------------------------------------------

// A kernel over taps: dense layers have one tap; the temporal convolution three; a 3x3x3 convolution 27.
struct KernelShape {
  int64_t outputs = 0;  // output channels
  int64_t inputs = 0;   // input channels of one tap
  int kt = 1, kh = 1, kw = 1;
  // Whether the backend may keep and multiply it in a narrower type than its activations': specification section 7.
  bool low_precision = false;
  int taps() const { return kt * kh * kw; }
};

// Opaque: each backend has its own layout. Weights are kept in the activation type, bias in f32.
class PackedKernel {
 public:
  explicit PackedKernel(const KernelShape& shape) : shape_(shape) {}
  virtual ~PackedKernel() = default;
  const KernelShape& shape() const { return shape_; }
  virtual size_t bytes() const = 0;

 private:
  KernelShape shape_;
};

// ---- Token layout ---------------------------------------------------------------------------------------------------

// One pass's tokens in a packed batch: rows [first_row, first_row + frames*height*width), in order frame, row, column.
struct Segment {
  int64_t first_row = 0;
  int frames = 0, height = 0, width = 0;  // in patches
  int first_frame = 0;                    // absolute latent-frame position of the first frame (rotary positions)
  int64_t rows() const { return int64_t{frames} * height * width; }
};

enum class Activation { kNone, kSilu, kGeluTanh };

// What happens to acc = x W^T + bias before it is stored:
//   y = activation(acc)                                        if !residual
//   y += gate[mod_row[n]] * activation(acc)                    if residual (y is f32; gate null means 1)
struct Epilogue {
  Activation activation = Activation::kNone;
  bool residual = false;
  const float* gate = nullptr;       // f32 rows of `gate_stride` floats, width = outputs
  int64_t gate_stride = 0;           // floats between two modulation rows
  std::span<const int32_t> mod_row;  // host; for each of the N rows its modulation row; needed with gate
};

// ---- Arguments of the attention operations --------------------------------------------------------------------------

struct LinearAttentionSegment {
  Segment tokens;
  // The history: each entry one contribution (or a running sum), added oldest first. S [h,d,d] value x key, z [h,d],
  // f32.
  struct State {
    const float* S = nullptr;
    const float* z = nullptr;
  };
  std::vector<State> history;
  // Where the commit pass stores; null in denoising passes. With store_sum: history + own block; else own block only.
  float* S_out = nullptr;
  float* z_out = nullptr;
  bool store_sum = false;
};

// Specification section 3, "Linear self-attention": RMSNorm over D on q and k, ReLU, 3-D RoPE on copies, sums in f32.
struct LinearAttentionArgs {
  ConstMat qkv;                     // act or f32 [N, 3D]: q | k | v as projected
  const float* q_weight = nullptr;  // [D] RMSNorm weights; null: no norm (qk_norm = null)
  const float* k_weight = nullptr;
  float norm_eps = 1e-5f;
  int heads = 0, head_dim = 0;
  int64_t rope_max_positions = 1024;
  std::span<const LinearAttentionSegment> segments;
  Mat out;  // act [N, D]
};

// Cross K/V of one prompt in one layer, in the backend's layout, made by PrepareCrossKv.
struct CrossKv {
  const void* data = nullptr;
  int64_t tokens = 0;  // only tokens whose mask is set; all of them where none is
};

struct CrossAttentionSegment {
  int64_t first_row = 0, rows = 0;
  CrossKv kv;
};

struct CrossAttentionArgs {
  ConstMat q;                       // act [N, h*d] as projected
  const float* q_weight = nullptr;  // [h*d] RMSNorm; null: none
  float norm_eps = 1e-5f;
  int heads = 0, head_dim = 0;
  std::span<const CrossAttentionSegment> segments;
  Mat out;  // act [N, h*d]
};

// Softmax attention with grouped heads; of the text encoder (causal, RoPE half-split, soft cap, window) and of the
// VAE's middle (none of these). Scores: cap*tanh(scale*q.k/cap), keys masked: j > i when causal, i - j >= window when
// window > 0, j >= key_rows.
struct SoftmaxAttentionSegment {
  int64_t first_row = 0, rows = 0;
  int64_t key_rows = 0;  // keys beyond are padding
};
struct SoftmaxAttentionArgs {
  ConstMat qkv;  // act or f32 [N, (heads + 2*kv_heads)*head_dim]: q | k | v; products are in its type
  int heads = 1, kv_heads = 1, head_dim = 0;
  float scale = 1.f;
  float soft_cap = 0.f;  // 0: none
  bool causal = false;
  int64_t window = 0;      // 0: none
  float rope_theta = 0.f;  // 0: no rotary positions
  std::span<const SoftmaxAttentionSegment> segments;
  Mat out;  // act [N, heads*head_dim]
};

// ---- Convolution over channels-last frames --------------------------------------------------------------------------

// out[f](y,x) = act-free epilogue( sum over taps of W[tap] . in[f*kt + dt](sy, sx) ), with
//   sy = (y*stride + dy - pad_top) / upsample (floor), outside the (upsampled) input: zero; likewise sx.
// Nearest-neighbour doubling before the convolution is `upsample = 2`: it is never materialised.
struct ConvArgs {
  const PackedKernel* kernel = nullptr;
  std::span<const void* const> in;  // out.size()*kt frames, act [in_height, in_width, inputs]; null: a zero frame
  int in_height = 0, in_width = 0;
  std::span<void* const> out;  // act [out_height, out_width, outputs], or f32 when `wide`
  int out_height = 0, out_width = 0;
  int stride = 1, upsample = 1;
  int pad_top = 0, pad_left = 0;
  std::span<const void* const> residual;  // empty, or out.size() frames added to the result; may be the output itself
  bool wide = false;                      // out and residual are f32
};

// ---- The interface --------------------------------------------------------------------------------------------------

struct CombineTerm {
  float weight;
  const float* x;
};

class Ops {
 public:
  virtual ~Ops() = default;

  virtual std::string name() const = 0;       // "reference", "cpu/avx512_bf16", ...: part of the numerics id
  virtual DType activation_type() const = 0;  // f32 or bf16

  // Waits until all that was asked for is done; the first error of a backend whose work runs later than the call, which
  // also makes everything after it void. Backends that work at once have nothing to say.
  virtual absl::Status Finish() { return absl::OkStatus(); }

  // Order. What is asked of an Ops runs as if in the order in which it was asked for: that is a lane. A device may have
  // more than one, whose work runs at the same time and is ordered by WaitFor alone.
  //
  // Another lane over the same memory; weights belong to the lane that packed them. Null where work is done when a call
  // returns: a second lane could only take its turn.
  virtual absl::StatusOr<std::unique_ptr<Ops>> MakeLane() { return nullptr; }
  // A point of a lane, behind all that it was asked for before; 0 is its beginning.
  using Mark = uint64_t;
  virtual Mark Record() { return 0; }
  // Waits for that point; from any thread. The lane's first error, as Finish tells it.
  virtual absl::Status Reach(Mark) { return absl::OkStatus(); }
  // What is asked of this lane from now on runs after that point of the other one, which is of the same device.
  virtual void WaitFor(Ops&, Mark) {}

  // Device memory that operations need beside their views. PlanScratch counts what those that `calls` asks for would
  // need: nothing runs, and views may point anywhere. ReserveScratch takes that much, once; an operation that needs
  // more is a failure from then on. Where nobody reserves, it grows as operations come.
  virtual void PlanScratch(const std::function<void()>&) {}
  virtual absl::Status ReserveScratch() { return absl::OkStatus(); }
  // Bytes, of this lane; `used` at most so far. From any thread.
  struct ScratchUse {
    size_t planned = 0, used = 0;
  };
  virtual ScratchUse scratch_use() const { return {}; }

  // One pass: `calls` asks for its operations, and for no memory of the host. A backend that would launch what it has
  // launched for an earlier pass may launch all of it at once. Only the contents of memory and of spans differ between
  // such passes: sessions' pointers and sizes go in spans (segments, tails, parts of CopyEach). Spans of modulation
  // rows stay until `calls` returns.
  virtual void RunPass(const std::function<void()>& calls) { calls(); }
  // How many rows a pass that needs `rows` should have, so that more passes are alike. Never fewer for more. What
  // stands in the others is nobody's, and no segment's.
  virtual int64_t PaddedRows(int64_t rows) const { return rows; }

  // Memory. An Allocate that cannot be throws bad_alloc.
  // What the backend has in all, in bytes; 0: it works in the machine's own.
  virtual uint64_t device_memory_bytes() const { return 0; }
  virtual std::unique_ptr<Buffer> Allocate(size_t bytes) = 0;
  // Memory of the host that Upload and Download move fastest from and to; not zeroed.
  virtual std::unique_ptr<Buffer> AllocateHost(size_t bytes) { return std::make_unique<HeapBuffer>(bytes); }
  virtual void Upload(const void* host, void* backend, size_t bytes) = 0;
  virtual void Download(const void* backend, void* host, size_t bytes) = 0;
  // The same into memory of AllocateHost, where it has arrived when a mark behind it is reached.
  virtual void DownloadLater(const void* backend, void* host, size_t bytes) { Download(backend, host, bytes); }
  virtual void Copy(const void* from, void* to, size_t bytes) = 0;  // within backend memory
  struct CopyPart {
    const void* from = nullptr;
    void* to = nullptr;
    size_t bytes = 0;
  };
  virtual void CopyEach(std::span<const CopyPart> parts) {
    for (const CopyPart& p : parts) Copy(p.from, p.to, p.bytes);
  }
  virtual void Convert(ConstMat from, Mat to) = 0;  // between f32 and bf16, same shape

  // Weights. `weight` [outputs, inputs, kt, kh, kw] (or fewer dimensions), any float type; `bias` [outputs] or null.
  // Several weights stacked along outputs make one kernel (q|k|v); their shapes agree but for outputs.
  virtual std::unique_ptr<PackedKernel> Pack(const KernelShape& shape, std::span<const HostTensor> weights,
                                             std::span<const HostTensor> biases) = 0;
  // Two weights [outputs, inputs] without bias, G and U, for LinearGated.
  virtual std::unique_ptr<PackedKernel> PackGated(const KernelShape& shape, const HostTensor& gate,
                                                  const HostTensor& up) = 0;
  // Depthwise 3x3 weights [C,1,3,3] and bias [C].
  virtual std::unique_ptr<PackedKernel> PackDepthwise(const HostTensor& weight, const HostTensor& bias) = 0;

  // Dense layers: x act [N, inputs], y act or f32 [N, outputs].
  virtual void Linear(const PackedKernel& w, ConstMat x, const Epilogue& e, Mat y) = 0;

  // y = LayerNorm(x) * (1 + scale[mod_row]) + shift[mod_row]; no affine part; x f32 [N,D], y act. With a null scale and
  // shift it is the plain norm. Rows of shift and scale are `mod_stride` floats apart.
  virtual void LayerNormModulate(ConstMat x, float eps, const float* shift, const float* scale, int64_t mod_stride,
                                 std::span<const int32_t> mod_row, Mat y) = 0;
  // y = x / rms(x) * (weight + weight_offset), x f32 or act [N,D]; y act or f32. With `residual`: y (f32) += the same.
  virtual void RmsNorm(ConstMat x, const float* weight, float weight_offset, float eps, bool residual, Mat y) = 0;
  // y[n] = activation(x[n]); f32 or act on both sides.
  virtual void Activate(ConstMat x, Activation a, Mat y) = 0;
  // y[r] = x[r] + row, f32; x [R,C], row [C].
  virtual void AddRow(ConstMat x, const float* row, Mat y) = 0;
  // y[n] = activation(x[n] G^T) * (x[n] U^T) for a kernel of PackGated, x act [N, inputs], y act [N, outputs]; f32
  // until stored (the text encoder's gate). The two products, twice as wide as y, are never written out.
  virtual void LinearGated(const PackedKernel& w, ConstMat x, Activation a, Mat y) = 0;

  virtual void LinearAttention(const LinearAttentionArgs& args) = 0;
  virtual size_t CrossKvBytes(int64_t tokens, int heads, int head_dim) const = 0;
  // k, v act [L, h*d] as projected (rows with mask only); k gets RMSNorm (weight may be null). Writes CrossKvBytes(L)
  // to `out`.
  virtual void PrepareCrossKv(ConstMat k, ConstMat v, const float* k_weight, float norm_eps, int heads, int head_dim,
                              void* out) = 0;
  virtual void CrossAttention(const CrossAttentionArgs& args) = 0;
  virtual void SoftmaxAttention(const SoftmaxAttentionArgs& args) = 0;

  // Depthwise 3x3 with bias and zero padding over each frame of x act [N,2C], then y = a * SiLU(g) of the halves; act
  // [N,C].
  virtual void DepthwiseGlu(const PackedKernel& w, ConstMat x, std::span<const Segment> segments, Mat y) = 0;
  // h[n] += gate[mod_row[n]] * (y[n] + sum_taps W[tap] . y at frames t-1, t, t+1 of the same place); y act [N,D], h
  // f32. tails: for each segment the frame before its first, act [height*width, D], or null for zeros; zeros after the
  // last.
  virtual void TemporalConv(const PackedKernel& w, ConstMat y, std::span<const Segment> segments,
                            std::span<const void* const> tails, const Epilogue& e, Mat h) = 0;

  // Latents f32 [C, frames*pt, height*ph, width*pw] of each segment to tokens act [N, C*pt*ph*pw] (channel slowest).
  virtual void Patchify(std::span<const float* const> latents, std::span<const Segment> segments, int channels,
                        std::array<int, 3> patch, Mat tokens) = 0;
  // Tokens f32 [N, pt*ph*pw*C] (channel fastest) to latents f32 as above.
  virtual void Unpatchify(ConstMat tokens, std::span<const Segment> segments, int channels, std::array<int, 3> patch,
                          std::span<float* const> latents) = 0;

  // rows [R, width] of sinusoids of t[r] (host): cos first, then sin; frequencies exp(-ln(10000) i / (width/2)).
  virtual void TimestepSinusoids(std::span<const float> t, Mat y) = 0;
  // y[n] = table[ids[n]] * scale; table as packed by PackEmbedding; y f32.
  virtual std::unique_ptr<Buffer> PackEmbedding(const HostTensor& table) = 0;
  virtual void Embed(Buffer& table, std::span<const int32_t> ids, float scale, Mat y) = 0;

  // out = sum of weight*x over the terms, f32, n elements; out may be one of the x. In the order given.
  virtual void Combine(std::span<const CombineTerm> terms, int64_t n, float* out) = 0;
  // Standard normal numbers, a pure function of (seed, block, step, element): core/philox.h.
  virtual void FillNormal(uint64_t seed, uint32_t block, uint32_t step, int64_t n, float* out) = 0;

  virtual void Conv(const ConvArgs& args) = 0;
  // y = x/|x|_2 * sqrt(C) * gamma over the channels of each row, then SiLU if asked; x f32 or act [rows, C], y act. May
  // be in place where the types are the same.
  virtual void ChannelNorm(ConstMat x, const float* gamma, bool silu, Mat y) = 0;
  // Latents f32 [C, frames, h, w], frame t, to a channels-last act frame [h*w, C] as z*std + mean (host mean, std).
  virtual void LatentsToFrame(const float* latents, int64_t frames, int64_t t, std::span<const float> mean,
                              std::span<const float> std, Mat frame) = 0;
  // The reverse, (x - mean) / std, for the encoder's first C columns.
  virtual void FrameToLatents(ConstMat frame, std::span<const float> mean, std::span<const float> std, int64_t frames,
                              int64_t t, float* latents) = 0;
  // Channels-last frame, act or f32, [h, w, 3*p*p] (order channel, column-in-patch, row-in-patch, as diffusers'
  // unpatchify) to planar f32 [3, h*p, w*p] clamped to [-1,1]; and the reverse for the encoder (no clamp).
  virtual void FrameToPlanar(ConstMat frame, int height, int width, int patch, float* planar) = 0;
  virtual void PlanarToFrame(const float* planar, int height, int width, int patch, Mat frame) = 0;
  // The same to 8-bit 4:2:0, BT.709 limited range, chroma the mean of its four pixels: y [h*p * w*p], u, v a quarter
  // each.
  virtual void FrameToI420(ConstMat frame, int height, int width, int patch, uint8_t* y, uint8_t* u, uint8_t* v) = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_OPS_OPS_H_
