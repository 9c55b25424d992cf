// A stream of a backend: its device, its weight packer and its operations. Models are written on this alone and never
// touch memory that views point to, so that the memory may be a device's.
//
// `reference/` is the definition: plain scalar loops. `cpu/` and `cuda/` are compared with it.
#ifndef LONGTAKE_ENGINE_OPS_OPS_H_
#define LONGTAKE_ENGINE_OPS_OPS_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "engine/ops/attention.h"
#include "engine/ops/convolution.h"
#include "engine/ops/dense.h"
#include "engine/ops/device.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/latents.h"
#include "engine/ops/norm.h"
#include "engine/ops/sampler.h"
#include "engine/ops/scratch.h"
#include "engine/ops/weights.h"

namespace longtake {

// One thread at a time may call a stream, unless a function says otherwise.
class Ops {
 public:
  virtual ~Ops() = default;

  DType activation_type() const { return parts_.context->activation_type; }
  Profiler& profiler() const { return parts_.context->profiler; }

  Device& device() const { return *parts_.device; }
  Scratch& scratch() const { return *parts_.scratch; }
  WeightPacker& weights() const { return *parts_.weights; }

  DenseOps& dense() const { return *parts_.dense; }
  NormOps& norm() const { return *parts_.norm; }
  ElementwiseOps& elementwise() const { return *parts_.elementwise; }
  AttentionOps& attention() const { return *parts_.attention; }
  ConvolutionOps& convolution() const { return *parts_.convolution; }
  LatentOps& latents() const { return *parts_.latents; }
  SamplerOps& sampler() const { return *parts_.sampler; }

  // Another stream of the same device, over the same memory; packed weights may be used on both. Null on backends whose
  // work is done when a call returns: there a second stream could only take turns.
  virtual absl::StatusOr<std::unique_ptr<Ops>> MakeStream() { return nullptr; }

  // Operations of another activation type for another part of a model, without quantization. They are on the same
  // stream and threads, so that calls of both take turns, and over the same memory; packed weights belong to one of
  // them. InvalidArgument where the backend does not compute in that type.
  virtual absl::StatusOr<std::unique_ptr<Ops>> WithActivations(DType type) {
    return absl::InvalidArgumentError(absl::StrCat(device().name(), " does not compute in ", std::string(Name(type))));
  }

 protected:
  struct Parts {
    std::shared_ptr<void> state;  // the backend's own, which the others refer to: destroyed last
    std::unique_ptr<FamilyContext> context;
    std::unique_ptr<Device> device;
    std::unique_ptr<Scratch> scratch;
    std::unique_ptr<WeightPacker> weights;
    std::unique_ptr<DenseOps> dense;
    std::unique_ptr<NormOps> norm;
    std::unique_ptr<ElementwiseOps> elementwise;
    std::unique_ptr<AttentionOps> attention;
    std::unique_ptr<ConvolutionOps> convolution;
    std::unique_ptr<LatentOps> latents;
    std::unique_ptr<SamplerOps> sampler;
  };

  explicit Ops(Parts parts) : parts_(std::move(parts)) {}

 private:
  Parts parts_;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_OPS_OPS_H_
