// Streams whose operations go to another stream's, for tests that look at each call or change what it does.
#ifndef LONGTAKE_TESTS_ENGINE_FORWARDED_OPS_H_
#define LONGTAKE_TESTS_ENGINE_FORWARDED_OPS_H_

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "engine/ops/ops.h"

namespace longtake {

// Is called around each operation, but not around Allocate and packing.
class OperationHook {
 public:
  virtual ~OperationHook() = default;
  virtual void Begin() {}
  virtual void End() {}
};

class OperationScope {
 public:
  explicit OperationScope(OperationHook& hook) : hook_(hook) { hook_.Begin(); }
  ~OperationScope() { hook_.End(); }
  OperationScope(const OperationScope&) = delete;
  OperationScope& operator=(const OperationScope&) = delete;

 private:
  OperationHook& hook_;
};

class ForwardedDevice final : public Device {
 public:
  ForwardedDevice(Device& to, OperationHook& hook) : to_(to), hook_(hook) {}

  std::string name() const override { return to_.name(); }
  std::unique_ptr<Buffer> Allocate(size_t bytes) override { return to_.Allocate(bytes); }
  void Upload(const void* host, void* device, size_t bytes) override {
    const OperationScope scope(hook_);
    to_.Upload(host, device, bytes);
  }
  void Download(const void* device, void* host, size_t bytes) override {
    const OperationScope scope(hook_);
    to_.Download(device, host, bytes);
  }
  void Copy(const void* from, void* to, size_t bytes) override {
    const OperationScope scope(hook_);
    to_.Copy(from, to, bytes);
  }
  void CopyEach(std::span<const CopyPart> parts) override {
    const OperationScope scope(hook_);
    to_.CopyEach(parts);
  }

 private:
  Device& to_;
  OperationHook& hook_;
};

class ForwardedScratch final : public Scratch {
 public:
  explicit ForwardedScratch(Scratch& to) : to_(to) {}
  void Plan(const std::function<void()>& calls) override { to_.Plan(calls); }
  absl::Status Reserve() override { return to_.Reserve(); }
  Use use() const override { return to_.use(); }

 private:
  Scratch& to_;
};

class ForwardedWeights : public WeightPacker {
 public:
  explicit ForwardedWeights(WeightPacker& to) : to_(to) {}
  std::unique_ptr<PackedKernel> Pack(const KernelShape& shape, std::span<const HostTensor> weights,
                                     std::span<const HostTensor> biases) override {
    return to_.Pack(shape, weights, biases);
  }
  Quantization quantization() const override { return to_.quantization(); }
  std::unique_ptr<PackedKernel> PackQuantized(const KernelShape& shape, std::span<const QuantizedMatrix> weights,
                                              std::span<const HostTensor> biases) override {
    return to_.PackQuantized(shape, weights, biases);
  }
  std::unique_ptr<PackedKernel> PackGated(const KernelShape& shape, const HostTensor& gate,
                                          const HostTensor& up) override {
    return to_.PackGated(shape, gate, up);
  }
  std::unique_ptr<PackedKernel> PackDepthwise(const HostTensor& weight, const HostTensor& bias) override {
    return to_.PackDepthwise(weight, bias);
  }
  EmbeddingTable PackEmbedding(const HostTensor& table) override { return to_.PackEmbedding(table); }

 private:
  WeightPacker& to_;
};

// A family's operations, each by the public function that checks its arguments.
template <typename Family>
class Forwarded : public Family {
 public:
  Forwarded(FamilyContext* context, Family& to, OperationHook& hook) : Family(context), to_(to), hook_(hook) {}

 protected:
  template <typename... Parameters, typename... Arguments>
  void Call(void (Family::*operation)(Parameters...), const Arguments&... arguments) {
    const OperationScope scope(hook_);
    (to_.*operation)(arguments...);
  }
  Family& to_;
  OperationHook& hook_;
};

class ForwardedDense : public Forwarded<DenseOps> {
 public:
  using Forwarded::Forwarded;
  bool adds_low_rank() const override { return to_.adds_low_rank(); }

 private:
  void DoLinear(const LinearArgs& args) override { Call(&DenseOps::Linear, args); }
  void DoLinearGated(const LinearGatedArgs& args) override { Call(&DenseOps::LinearGated, args); }
  void DoEmbed(const EmbedArgs& args) override { Call(&DenseOps::Embed, args); }
};

class ForwardedNorm : public Forwarded<NormOps> {
  using Forwarded::Forwarded;
  void DoLayerNorm(const LayerNormArgs& args) override { Call(&NormOps::LayerNorm, args); }
  void DoRmsNorm(const RmsNormArgs& args) override { Call(&NormOps::RmsNorm, args); }
  void DoChannelNorm(const ChannelNormArgs& args) override { Call(&NormOps::ChannelNorm, args); }
};

class ForwardedElementwise final : public Forwarded<ElementwiseOps> {
  using Forwarded::Forwarded;
  void DoConvert(ConstMat x, Mat y) override { Call(&ElementwiseOps::Convert, x, y); }
  void DoActivate(ConstMat x, Activation activation, Mat y) override {
    Call(&ElementwiseOps::Activate, x, activation, y);
  }
  void DoAddRow(ConstMat x, const float* row, Mat y) override { Call(&ElementwiseOps::AddRow, x, row, y); }
};

class ForwardedAttention : public Forwarded<AttentionOps> {
 public:
  using Forwarded::Forwarded;
  DType linear_input_type() const override { return to_.linear_input_type(); }
  size_t CrossKvBytes(int64_t tokens, int heads, int head_dim) const override {
    return to_.CrossKvBytes(tokens, heads, head_dim);
  }

 private:
  void DoLinearAttention(const LinearAttentionArgs& args) override { Call(&AttentionOps::LinearAttention, args); }
  void DoPrepareCrossKv(const PrepareCrossKvArgs& args) override { Call(&AttentionOps::PrepareCrossKv, args); }
  void DoCrossAttention(const CrossAttentionArgs& args) override { Call(&AttentionOps::CrossAttention, args); }
  void DoSoftmaxAttention(const SoftmaxAttentionArgs& args) override { Call(&AttentionOps::SoftmaxAttention, args); }
};

class ForwardedConvolution : public Forwarded<ConvolutionOps> {
 public:
  using Forwarded::Forwarded;
  bool adds_low_rank() const override { return to_.adds_low_rank(); }
  bool activates_at_reading() const override { return to_.activates_at_reading(); }

 private:
  void DoConv(const ConvArgs& args) override { Call(&ConvolutionOps::Conv, args); }
  void DoDepthwiseGlu(const DepthwiseGluArgs& args) override { Call(&ConvolutionOps::DepthwiseGlu, args); }
  void DoTemporalConv(const TemporalConvArgs& args) override { Call(&ConvolutionOps::TemporalConv, args); }
};

class ForwardedLatents final : public Forwarded<LatentOps> {
  using Forwarded::Forwarded;
  void DoPatchify(const PatchifyArgs& args) override { Call(&LatentOps::Patchify, args); }
  void DoUnpatchify(const UnpatchifyArgs& args) override { Call(&LatentOps::Unpatchify, args); }
  void DoLatentsToFrame(const LatentsToFrameArgs& args) override { Call(&LatentOps::LatentsToFrame, args); }
  void DoFrameToLatents(const FrameToLatentsArgs& args) override { Call(&LatentOps::FrameToLatents, args); }
  void DoFrameToPlanar(const FrameToPlanarArgs& args) override { Call(&LatentOps::FrameToPlanar, args); }
  void DoPlanarToFrame(const PlanarToFrameArgs& args) override { Call(&LatentOps::PlanarToFrame, args); }
  void DoFrameToI420(const FrameToI420Args& args) override { Call(&LatentOps::FrameToI420, args); }
};

class ForwardedSampler final : public Forwarded<SamplerOps> {
  using Forwarded::Forwarded;
  void DoTimestepSinusoids(std::span<const float> t, Mat y) override { Call(&SamplerOps::TimestepSinusoids, t, y); }
  void DoCombine(std::span<const CombineTerm> terms, int64_t n, float* out) override {
    Call(&SamplerOps::Combine, terms, n, out);
  }
  void DoFillNormal(const NoiseKey& key, int64_t n, float* out) override { Call(&SamplerOps::FillNormal, key, n, out); }
};

class ForwardedShuffle final : public Forwarded<ShuffleOps> {
  using Forwarded::Forwarded;
  void DoDepthToSpace(const DepthToSpaceArgs& args) override { Call(&ShuffleOps::DepthToSpace, args); }
  void DoSpaceToDepth(const SpaceToDepthArgs& args) override { Call(&ShuffleOps::SpaceToDepth, args); }
};

class ForwardedHybrid final : public Forwarded<HybridOps> {
  using Forwarded::Forwarded;
  void DoDepthAttention(const DepthAttentionArgs& args) override { Call(&HybridOps::DepthAttention, args); }
  void DoRotateOnGrid(const RotateOnGridArgs& args) override { Call(&HybridOps::RotateOnGrid, args); }
  void DoGateHeads(const GateHeadsArgs& args) override { Call(&HybridOps::GateHeads, args); }
  void DoAddBranch(const AddBranchArgs& args) override { Call(&HybridOps::AddBranch, args); }
};

class ForwardedOps final : public Ops {
 public:
  using Ops::Parts;
  explicit ForwardedOps(Parts parts) : Ops(std::move(parts)) {}
};

// The parts of a stream that forwards to `ops`; both arguments must outlive it. A test may put others into their place,
// with the context that is in them.
inline ForwardedOps::Parts ForwardedParts(Ops& ops, OperationHook& hook) {
  auto context = std::make_unique<FamilyContext>();
  context->activation_type = ops.activation_type();
  FamilyContext* const c = context.get();
  return {.context = std::move(context),
          .device = std::make_unique<ForwardedDevice>(ops.device(), hook),
          .scratch = std::make_unique<ForwardedScratch>(ops.scratch()),
          .weights = std::make_unique<ForwardedWeights>(ops.weights()),
          .dense = std::make_unique<ForwardedDense>(c, ops.dense(), hook),
          .norm = std::make_unique<ForwardedNorm>(c, ops.norm(), hook),
          .elementwise = std::make_unique<ForwardedElementwise>(c, ops.elementwise(), hook),
          .attention = std::make_unique<ForwardedAttention>(c, ops.attention(), hook),
          .convolution = std::make_unique<ForwardedConvolution>(c, ops.convolution(), hook),
          .latents = std::make_unique<ForwardedLatents>(c, ops.latents(), hook),
          .sampler = std::make_unique<ForwardedSampler>(c, ops.sampler(), hook),
          .shuffle = std::make_unique<ForwardedShuffle>(c, ops.shuffle(), hook),
          .hybrid = std::make_unique<ForwardedHybrid>(c, ops.hybrid(), hook)};
}

}  // namespace longtake

#endif  // LONGTAKE_TESTS_ENGINE_FORWARDED_OPS_H_
