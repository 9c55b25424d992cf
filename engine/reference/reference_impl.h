// Internal to reference/: the class, its weights, and access to views of float32.
#ifndef LONGTAKE_ENGINE_REFERENCE_REFERENCE_IMPL_H_
#define LONGTAKE_ENGINE_REFERENCE_REFERENCE_IMPL_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/ops/activation.h"
#include "engine/ops/ops.h"

namespace longtake::reference {

// Weights as [outputs][tap][input], bias [outputs] (zeros where the layer has none).
class Kernel : public PackedKernel {
 public:
  Kernel(const KernelShape& shape, std::vector<float> weight, std::vector<float> bias)
      : PackedKernel(shape), weight_(std::move(weight)), bias_(std::move(bias)) {}
  size_t bytes() const override { return (weight_.size() + bias_.size()) * sizeof(float); }
  const float* row(int64_t output) const { return weight_.data() + output * shape().taps() * shape().inputs; }
  const float* tap(int64_t output, int tap) const { return row(output) + tap * shape().inputs; }
  float bias(int64_t output) const { return bias_[output]; }

 private:
  std::vector<float> weight_, bias_;
};

inline const Kernel& AsKernel(const PackedKernel& k) { return static_cast<const Kernel&>(k); }
inline const float* Row(const ConstMat& m, int64_t r) { return static_cast<const float*>(m.data) + r * m.stride; }
inline float* Row(const Mat& m, int64_t r) { return static_cast<float*>(m.data) + r * m.stride; }

// Stores acc into y[row][col] as the epilogue says.
void Store(const Epilogue& e, double acc, int64_t row, int64_t col, const Mat& y);

class ReferenceOps : public Ops {
 public:
  std::string name() const override { return "reference"; }
  DType activation_type() const override { return DType::kF32; }

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
};

}  // namespace longtake::reference

#endif  // LONGTAKE_ENGINE_REFERENCE_REFERENCE_IMPL_H_
