// Dense layers and token embeddings.
#ifndef LONGTAKE_ENGINE_OPS_DENSE_H_
#define LONGTAKE_ENGINE_OPS_DENSE_H_

#include <cstdint>
#include <span>

#include "engine/ops/epilogue.h"
#include "engine/ops/family.h"
#include "engine/ops/low_rank.h"
#include "engine/ops/weights.h"

namespace longtake {

// y = epilogue(x W^T + bias + low-rank terms).
struct LinearArgs {
  const PackedKernel& kernel;  // one tap
  ConstMat x;                  // act [N, inputs]
  std::span<const LowRankTerm> low_rank;
  Epilogue epilogue;
  Mat y;  // act or f32 [N, outputs]
};

// y = activation(x G^T) * (x U^T), in f32 until y is stored. The two products are never written to memory.
struct LinearGatedArgs {
  const PackedKernel& kernel;  // of PackGated
  ConstMat x;                  // act [N, inputs]
  Activation activation = Activation::kNone;
  Mat y;  // act [N, outputs]
};

// y[n] = table[ids[n]] * scale.
struct EmbedArgs {
  const EmbeddingTable& table;
  std::span<const int32_t> ids;  // each in [0, rows of the table)
  float scale = 1.f;
  Mat y;  // f32 [ids, width]
};

class DenseOps : public OperationFamily {
 public:
  using OperationFamily::OperationFamily;
  virtual ~DenseOps() = default;

  // False: the backend accepts no low-rank terms, neither here nor in ConvolutionOps.
  virtual bool adds_low_rank() const { return false; }

  void Linear(const LinearArgs& args);
  void LinearGated(const LinearGatedArgs& args);
  void Embed(const EmbedArgs& args);

 private:
  virtual void DoLinear(const LinearArgs& args) = 0;
  virtual void DoLinearGated(const LinearGatedArgs& args) = 0;
  virtual void DoEmbed(const EmbedArgs& args) = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_OPS_DENSE_H_
