// Internal to cpu/: the class. Dense layers and rows are in cpu_ops_dense.cc, attention in cpu_ops_attention.cc, what
// looks at frames in cpu_ops_video.cc, latents and pixels in cpu_ops_frames.cc.
#ifndef LONGTAKE_ENGINE_CPU_CPU_OPS_IMPL_H_
#define LONGTAKE_ENGINE_CPU_CPU_OPS_IMPL_H_

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "engine/cpu/isa.h"
#include "engine/cpu/matmul.h"
#include "engine/ops/ops.h"

namespace longtake::cpu {

inline Act ActOf(Activation a) {
  switch (a) {
    case Activation::kNone:
      return Act::kNone;
    case Activation::kSilu:
      return Act::kSilu;
    case Activation::kGeluTanh:
      return Act::kGeluTanh;
  }
  return Act::kNone;
}
inline const std::byte* RowAt(const ConstMat& m, int64_t r) {
  return static_cast<const std::byte*>(m.data) + r * m.stride * static_cast<int64_t>(SizeOf(m.dtype));
}
inline std::byte* RowAt(const Mat& m, int64_t r) {
  return static_cast<std::byte*>(m.data) + r * m.stride * static_cast<int64_t>(SizeOf(m.dtype));
}
inline Rows RowsOf(const ConstMat& m, int64_t first = 0) { return {RowAt(m, first), ElemOf(m.dtype), m.stride}; }
inline MutRows RowsOf(const Mat& m, int64_t first = 0) { return {RowAt(m, first), ElemOf(m.dtype), m.stride}; }

// One element of either type, in loops that are not worth a kernel.
float ReadElement(const ConstMat& m, int64_t row, int64_t column);
void WriteElement(const Mat& m, int64_t row, int64_t column, float value);

// Cosines and sines of positions [0, positions), rows of `width` floats.
struct AngleTable {
  int64_t positions = 0;
  int width = 0;
  double theta = 0;
  std::vector<float> cosines, sines;
};

class CpuOps : public Ops {
 public:
  CpuOps(Isa isa, const KernelTable& table, Elem type, int threads);

  std::string name() const override { return name_; }
  DType activation_type() const override { return context_.type == Elem::kF32 ? DType::kF32 : DType::kBF16; }

  std::unique_ptr<Buffer> Allocate(size_t bytes) override;
  void Upload(const void* host, void* backend, size_t bytes) override;
  void Download(const void* backend, void* host, size_t bytes) override;
  void Copy(const void* from, void* to, size_t bytes) override;
  void Convert(ConstMat from, Mat to) override;

  std::unique_ptr<PackedKernel> Pack(const KernelShape& shape, std::span<const HostTensor> weights,
                                     std::span<const HostTensor> biases) override;
  std::unique_ptr<PackedKernel> PackGated(const KernelShape& shape, const HostTensor& gate,
                                          const HostTensor& up) override;
  std::unique_ptr<PackedKernel> PackDepthwise(const HostTensor& weight, const HostTensor& bias) override;

  void Linear(const PackedKernel& w, ConstMat x, const Epilogue& e, Mat y) override;
  void LayerNormModulate(ConstMat x, float eps, const float* shift, const float* scale, int64_t mod_stride,
                         std::span<const int32_t> mod_row, Mat y) override;
  void RmsNorm(ConstMat x, const float* weight, float weight_offset, float eps, bool residual, Mat y) override;
  void Activate(ConstMat x, Activation a, Mat y) override;
  void AddRow(ConstMat x, const float* row, Mat y) override;
  void LinearGated(const PackedKernel& w, ConstMat x, Activation a, Mat y) override;

  void LinearAttention(const LinearAttentionArgs& args) override;
  size_t CrossKvBytes(int64_t tokens, int heads, int head_dim) const override;
  void PrepareCrossKv(ConstMat k, ConstMat v, const float* k_weight, float norm_eps, int heads, int head_dim,
                      void* out) override;
  void CrossAttention(const CrossAttentionArgs& args) override;
  void SoftmaxAttention(const SoftmaxAttentionArgs& args) override;

  void DepthwiseGlu(const PackedKernel& w, ConstMat x, std::span<const Segment> segments, Mat y) override;
  void TemporalConv(const PackedKernel& w, ConstMat y, std::span<const Segment> segments,
                    std::span<const void* const> tails, const Epilogue& e, Mat h) override;

  void Patchify(std::span<const float* const> latents, std::span<const Segment> segments, int channels,
                std::array<int, 3> patch, Mat tokens) override;
  void Unpatchify(ConstMat tokens, std::span<const Segment> segments, int channels, std::array<int, 3> patch,
                  std::span<float* const> latents) override;
  void TimestepSinusoids(std::span<const float> t, Mat y) override;
  std::unique_ptr<Buffer> PackEmbedding(const HostTensor& table) override;
  void Embed(Buffer& table, std::span<const int32_t> ids, float scale, Mat y) override;
  void Combine(std::span<const CombineTerm> terms, int64_t n, float* out) override;
  void FillNormal(uint64_t seed, uint32_t block, uint32_t step, int64_t n, float* out) override;

  void Conv(const ConvArgs& args) override;
  void ChannelNorm(ConstMat x, const float* gamma, bool silu, Mat y) override;
  void LatentsToFrame(const float* latents, int64_t frames, int64_t t, std::span<const float> mean,
                      std::span<const float> std, Mat frame) override;
  void FrameToLatents(ConstMat frame, std::span<const float> mean, std::span<const float> std, int64_t frames,
                      int64_t t, float* latents) override;
  void FrameToPlanar(ConstMat frame, int height, int width, int patch, float* planar) override;
  void PlanarToFrame(const float* planar, int height, int width, int patch, Mat frame) override;
  void FrameToI420(ConstMat frame, int height, int width, int patch, uint8_t* y, uint8_t* u, uint8_t* v) override;

 protected:
  // Calls f(first, n, thread) over chunks of [0, rows) of about 16 Ki elements each.
  template <typename F>
  void ForRows(int64_t rows, int64_t columns, F&& f) {
    const int64_t chunk = std::clamp<int64_t>(16384 / std::max<int64_t>(columns, 1), 1, 256);
    context_.pool.ParallelFor((rows + chunk - 1) / chunk, [&](int64_t task, int thread) {
      const int64_t first = task * chunk;
      f(first, std::min(chunk, rows - first), thread);
    });
  }

 private:
  // Calls f(token) for every token of the segments, in chunks as ForRows.
  template <typename F>
  void ForTokens(std::span<const Segment> segments, std::array<int, 3> patch, int64_t columns, F&& f);
  void KeepZeros(int64_t inputs);  // at least so many in context_.zeros
  // The rotary table of one axis of `width`, for the 3-D rotation: cosines twice over, sines with signs.
  const AngleTable& PairTable(int width, int64_t positions);
  const AngleTable& HalfTable(int head_dim, float theta, int64_t positions);

  std::string name_;
  Context context_;
  std::vector<std::unique_ptr<AngleTable>> pair_tables_, half_tables_;
  std::vector<LinearHistory> history_;  // of the LinearAttention that runs
};

}  // namespace longtake::cpu

#endif  // LONGTAKE_ENGINE_CPU_CPU_OPS_IMPL_H_
