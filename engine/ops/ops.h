// One stream of a backend: its device, weight packer and operations. Models use nothing else. They never access the
// memory behind views, because it may be device memory.
//
// `reference/` defines the results with plain scalar loops; `cpu/` and `cuda/` are tested against it.
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
#include "engine/ops/hybrid.h"
#include "engine/ops/latents.h"
#include "engine/ops/norm.h"
#include "engine/ops/sampler.h"
#include "engine/ops/scratch.h"
#include "engine/ops/shuffle.h"
#include "engine/ops/weights.h"

namespace longtake {

// Only one thread at a time may call a stream, unless a function states otherwise.
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
  ShuffleOps& shuffle() const { return *parts_.shuffle; }
  HybridOps& hybrid() const { return *parts_.hybrid; }

  // Returns another stream of the same device and memory; packed weights may be used on both. Null on synchronous
  // backends, where a second stream could not run concurrently.
  virtual absl::StatusOr<std::unique_ptr<Ops>> MakeStream() { return nullptr; }

  // Returns operations with another type, for another part of a model: "float32", "bfloat16", or "int8", which is of
  // weights alone. They share stream, threads and memory with these, so calls of both must take turns. Weights packed
  // by one cannot be used by the other. InvalidArgument: the backend does not compute in that type.
  virtual absl::StatusOr<std::unique_ptr<Ops>> WithDtype(const std::string& dtype) {
    return absl::InvalidArgumentError(absl::StrCat(device().name(), " does not compute in ", dtype));
  }

 protected:
  struct Parts {
    std::shared_ptr<void> state;  // the backend's own; the other members refer to it, so it is destroyed last
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
    std::unique_ptr<ShuffleOps> shuffle;
    std::unique_ptr<HybridOps> hybrid;
  };

  explicit Ops(Parts parts) : parts_(std::move(parts)) {}

 private:
  Parts parts_;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_OPS_OPS_H_
