#include "tests/engine/counted_ops.h"

#include <atomic>
#include <string>
#include <utility>

namespace longtake {
namespace {

std::atomic<bool> in_operation = false;
std::atomic<int64_t> allocations = 0;

// From here to the end of the scope an operation runs.
class Operation {
 public:
  Operation() { in_operation = true; }
  ~Operation() { in_operation = false; }
};

class CountedDevice final : public Device {
 public:
  explicit CountedDevice(Device& to) : to_(to) {}

  std::string name() const override { return to_.name(); }
  std::unique_ptr<Buffer> Allocate(size_t bytes) override { return to_.Allocate(bytes); }
  void Upload(const void* host, void* device, size_t bytes) override {
    const Operation operation;
    to_.Upload(host, device, bytes);
  }
  void Download(const void* device, void* host, size_t bytes) override {
    const Operation operation;
    to_.Download(device, host, bytes);
  }
  void Copy(const void* from, void* to, size_t bytes) override {
    const Operation operation;
    to_.Copy(from, to, bytes);
  }
  void CopyEach(std::span<const CopyPart> parts) override {
    const Operation operation;
    to_.CopyEach(parts);
  }

 private:
  Device& to_;
};

class CountedScratch final : public Scratch {
 public:
  explicit CountedScratch(Scratch& to) : to_(to) {}
  void Plan(const std::function<void()>& calls) override { to_.Plan(calls); }
  absl::Status Reserve() override { return to_.Reserve(); }
  Use use() const override { return to_.use(); }

 private:
  Scratch& to_;
};

class CountedWeights final : public WeightPacker {
 public:
  explicit CountedWeights(WeightPacker& to) : to_(to) {}
  std::unique_ptr<PackedKernel> Pack(const KernelShape& shape, std::span<const HostTensor> weights,
                                     std::span<const HostTensor> biases) override {
    return to_.Pack(shape, weights, biases);
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
class Counted : public Family {
 public:
  Counted(FamilyContext* context, Family& to) : Family(context), to_(to) {}

 protected:
  template <typename... Parameters, typename... Arguments>
  void Call(void (Family::*operation)(Parameters...), const Arguments&... arguments) {
    const Operation counted;
    (to_.*operation)(arguments...);
  }
  Family& to_;
};

class CountedDense final : public Counted<DenseOps> {
  using Counted::Counted;
  void DoLinear(const LinearArgs& args) override { Call(&DenseOps::Linear, args); }
  void DoLinearGated(const LinearGatedArgs& args) override { Call(&DenseOps::LinearGated, args); }
  void DoEmbed(const EmbedArgs& args) override { Call(&DenseOps::Embed, args); }
};

class CountedNorm final : public Counted<NormOps> {
  using Counted::Counted;
  void DoLayerNorm(const LayerNormArgs& args) override { Call(&NormOps::LayerNorm, args); }
  void DoRmsNorm(const RmsNormArgs& args) override { Call(&NormOps::RmsNorm, args); }
  void DoChannelNorm(const ChannelNormArgs& args) override { Call(&NormOps::ChannelNorm, args); }
};

class CountedElementwise final : public Counted<ElementwiseOps> {
  using Counted::Counted;
  void DoConvert(ConstMat x, Mat y) override { Call(&ElementwiseOps::Convert, x, y); }
  void DoActivate(ConstMat x, Activation activation, Mat y) override {
    Call(&ElementwiseOps::Activate, x, activation, y);
  }
  void DoAddRow(ConstMat x, const float* row, Mat y) override { Call(&ElementwiseOps::AddRow, x, row, y); }
};

class CountedAttention final : public Counted<AttentionOps> {
 public:
  using Counted::Counted;
  size_t CrossKvBytes(int64_t tokens, int heads, int head_dim) const override {
    return to_.CrossKvBytes(tokens, heads, head_dim);
  }

 private:
  void DoLinearAttention(const LinearAttentionArgs& args) override { Call(&AttentionOps::LinearAttention, args); }
  void DoPrepareCrossKv(const PrepareCrossKvArgs& args) override { Call(&AttentionOps::PrepareCrossKv, args); }
  void DoCrossAttention(const CrossAttentionArgs& args) override { Call(&AttentionOps::CrossAttention, args); }
  void DoSoftmaxAttention(const SoftmaxAttentionArgs& args) override { Call(&AttentionOps::SoftmaxAttention, args); }
};

class CountedConvolution final : public Counted<ConvolutionOps> {
  using Counted::Counted;
  void DoConv(const ConvArgs& args) override { Call(&ConvolutionOps::Conv, args); }
  void DoDepthwiseGlu(const DepthwiseGluArgs& args) override { Call(&ConvolutionOps::DepthwiseGlu, args); }
  void DoTemporalConv(const TemporalConvArgs& args) override { Call(&ConvolutionOps::TemporalConv, args); }
};

class CountedLatents final : public Counted<LatentOps> {
  using Counted::Counted;
  void DoPatchify(const PatchifyArgs& args) override { Call(&LatentOps::Patchify, args); }
  void DoUnpatchify(const UnpatchifyArgs& args) override { Call(&LatentOps::Unpatchify, args); }
  void DoLatentsToFrame(const LatentsToFrameArgs& args) override { Call(&LatentOps::LatentsToFrame, args); }
  void DoFrameToLatents(const FrameToLatentsArgs& args) override { Call(&LatentOps::FrameToLatents, args); }
  void DoFrameToPlanar(const FrameToPlanarArgs& args) override { Call(&LatentOps::FrameToPlanar, args); }
  void DoPlanarToFrame(const PlanarToFrameArgs& args) override { Call(&LatentOps::PlanarToFrame, args); }
  void DoFrameToI420(const FrameToI420Args& args) override { Call(&LatentOps::FrameToI420, args); }
};

class CountedSampler final : public Counted<SamplerOps> {
  using Counted::Counted;
  void DoTimestepSinusoids(std::span<const float> t, Mat y) override { Call(&SamplerOps::TimestepSinusoids, t, y); }
  void DoCombine(std::span<const CombineTerm> terms, int64_t n, float* out) override {
    Call(&SamplerOps::Combine, terms, n, out);
  }
  void DoFillNormal(const NoiseKey& key, int64_t n, float* out) override { Call(&SamplerOps::FillNormal, key, n, out); }
};

class CountedOps final : public Ops {
 public:
  using Ops::Parts;
  explicit CountedOps(Parts parts) : Ops(std::move(parts)) {}
};

}  // namespace

int64_t AllocationsInOperations() { return allocations; }

void NoteAllocation() {
  if (in_operation) ++allocations;
}

std::unique_ptr<Ops> CountAllocations(Ops& ops) {
  auto context = std::make_unique<FamilyContext>();
  context->activation_type = ops.activation_type();
  FamilyContext* const c = context.get();
  return std::make_unique<CountedOps>(
      CountedOps::Parts{.context = std::move(context),
                        .device = std::make_unique<CountedDevice>(ops.device()),
                        .scratch = std::make_unique<CountedScratch>(ops.scratch()),
                        .weights = std::make_unique<CountedWeights>(ops.weights()),
                        .dense = std::make_unique<CountedDense>(c, ops.dense()),
                        .norm = std::make_unique<CountedNorm>(c, ops.norm()),
                        .elementwise = std::make_unique<CountedElementwise>(c, ops.elementwise()),
                        .attention = std::make_unique<CountedAttention>(c, ops.attention()),
                        .convolution = std::make_unique<CountedConvolution>(c, ops.convolution()),
                        .latents = std::make_unique<CountedLatents>(c, ops.latents()),
                        .sampler = std::make_unique<CountedSampler>(c, ops.sampler())});
}

}  // namespace longtake
