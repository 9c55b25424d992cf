// Internal to cuda/: the class. Memory is in cuda_ops.cc, weights and dense layers in cuda_ops_dense.cc, norms and
// other rows in cuda_ops_rows.cc, attention in cuda_ops_attention.cc, what looks at frames in cuda_ops_video.cc,
// latents and pixels in cuda_ops_frames.cc. These translate arguments; the kernels and what launches them are in
// kernels/.
#ifndef LONGTAKE_ENGINE_CUDA_CUDA_OPS_IMPL_H_
#define LONGTAKE_ENGINE_CUDA_CUDA_OPS_IMPL_H_

#include <memory>
#include <string>
#include <vector>

#include "engine/cuda/context.h"
#include "engine/cuda/cuda_ops.h"
#include "engine/cuda/kernels/dense.h"
#include "engine/cuda/matmul.h"
#include "engine/cuda/rotary.h"
#include "engine/cuda/weights.h"
#include "engine/ops/ops.h"

namespace longtake::cuda {

inline Act ActOf(Activation a) {
  switch (a) {
    case Activation::kSilu:
      return Act::kSilu;
    case Activation::kGeluTanh:
      return Act::kGeluTanh;
    case Activation::kNone:
      break;
  }
  return Act::kNone;
}

class CudaOps : public Ops {
 public:
  CudaOps(std::unique_ptr<Context> context, std::unique_ptr<MatMul> matmul, OperandType low_precision,
          std::string name);
  // A lane of that device.
  static absl::StatusOr<std::unique_ptr<CudaOps>> Make(const CudaOptions& options, bool urgent);
  ~CudaOps() override;

  std::string name() const override { return name_; }
  DType activation_type() const override { return DType::kBF16; }
  absl::Status Finish() override;

  absl::StatusOr<std::unique_ptr<Ops>> MakeLane() override;
  Mark Record() override { return context_->Record(); }
  absl::Status Reach(Mark mark) override { return context_->Reach(mark); }
  void WaitFor(Ops& other, Mark mark) override { context_->WaitFor(*static_cast<CudaOps&>(other).context_, mark); }

  uint64_t device_memory_bytes() const override { return context_->device().memory_bytes; }
  std::unique_ptr<Buffer> Allocate(size_t bytes) override;
  std::unique_ptr<Buffer> AllocateHost(size_t bytes) override;
  void Upload(const void* host, void* backend, size_t bytes) override;
  void Download(const void* backend, void* host, size_t bytes) override;
  void DownloadLater(const void* backend, void* host, size_t bytes) override;
  void CopyEach(std::span<const CopyPart> parts) override;
  void RunPass(const std::function<void()>& calls) override;
  int64_t PaddedRows(int64_t rows) const override { return context_->Padded(rows); }
  void PlanScratch(const std::function<void()>& calls) override;
  absl::Status ReserveScratch() override;
  ScratchUse scratch_use() const override;
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

 private:
  bool MayMove();
  // y = Epilogue(x w^T + bias), x act [N, w.inputs()] aligned or not. `add`, act [N, outputs], if not null, is added to
  // the sums before the activation. Scratch kProduct, kOperand and kScales are overwritten: x may not lie there, but in
  // kAttention and kAttention2.
  void RunDense(const CudaKernel& w, ConstMat x, const Epilogue& e, const ConstMat* add, Mat y);
  // One panel of its rows; `mod_row` on the device.
  void RunDensePanel(const CudaKernel& w, const ConstMat& x, const Epilogue& e, const int32_t* mod_row,
                     const ConstMat* add, const Mat& y);
  Operand PrepareOperand(const CudaKernel& w, const ConstMat& x);

  std::unique_ptr<Context> context_;
  std::unique_ptr<MatMul> matmul_;
  RotaryTables rotary_;
  OperandType low_precision_;  // of marked weights; kBf16: none
  std::string name_;
  CudaOptions options_;
};

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_CUDA_OPS_IMPL_H_
