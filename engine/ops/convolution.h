// Convolutions: over channels-last frames, depthwise within frames of tokens, and along time.
#ifndef LONGTAKE_ENGINE_OPS_CONVOLUTION_H_
#define LONGTAKE_ENGINE_OPS_CONVOLUTION_H_

#include <cstdint>
#include <span>

#include "engine/ops/epilogue.h"
#include "engine/ops/family.h"
#include "engine/ops/low_rank.h"
#include "engine/ops/segment.h"
#include "engine/ops/weights.h"

namespace longtake {

// What stands for a pixel outside of the input: zeros, or the pixel as far inside of the border as it lies outside
// (the border itself is not repeated; an input of one row or column has but that).
enum class Border { kZeros, kReflect };

// out[f](y, x) = activation(sum over taps of W[tap] . in[f * kt + dt](sy, sx) + bias + residual[f](y, x)), with
//   sy = floor((y * stride + dy - pad_top) / upsample), and `border` outside the upsampled input; likewise sx.
// `upsample` 2 doubles the input by nearest neighbour before the convolution; the doubled input is never stored.
struct ConvArgs {
  const PackedKernel& kernel;
  std::span<const ConstMat> in;  // kt frames for each of `out`, act [in_height * in_width, inputs]; null data: zeros
  int in_height = 0, in_width = 0;
  std::span<const Mat> out;  // act or f32 [out_height * out_width, outputs], all of one type
  int out_height = 0, out_width = 0;
  int stride = 1, upsample = 1;
  int pad_top = 0, pad_left = 0;
  Border border = Border::kZeros;             // kReflect: without `upsample`, and at most one pixel outside
  std::span<const ConstMat> residual;         // empty, or one frame for each of `out`, of its type; may be `out` itself
  Activation activation = Activation::kNone;  // or kRelu
};

// Depthwise 3x3 convolution with bias over each frame of x, or of SiLU(x), with zero padding. Then y = a * SiLU(g),
// where a and g are the first and the second half of the channels.
struct DepthwiseGluArgs {
  const PackedKernel& kernel;  // of PackDepthwise, over 2C channels
  ConstMat x;                  // act [N, 2C]: a | g
  std::span<const Segment> segments;
  Mat y;                                      // act [N, C]
  Activation activation = Activation::kNone;  // of x, as it is read; or kSilu
};

// out[n] += gate[mod_row[n]] * (x[n] + bias + sum over three taps of W[tap] . x + low-rank terms), where the taps are
// the frames t-1, t, t+1 at the same position.
struct TemporalConvArgs {
  const PackedKernel& kernel;  // kt = 3
  ConstMat x;                  // act [N, D]
  std::span<const LowRankTerm> low_rank;
  std::span<const Segment> segments;  // with low-rank terms: without gaps, from row 0 on
  // For each segment, the frame before its first one, act [height * width, D]; null data: zeros. The frame after the
  // last one is zeros.
  std::span<const ConstMat> tails;
  Epilogue epilogue;  // residual
  Mat out;            // f32 [N, D]
};

class ConvolutionOps : public OperationFamily {
 public:
  using OperationFamily::OperationFamily;
  virtual ~ConvolutionOps() = default;

  virtual bool adds_low_rank() const { return false; }  // true at least where that of DenseOps is
  // Whether an activation costs less in DepthwiseGlu than behind the product that makes its x.
  virtual bool activates_at_reading() const { return false; }

  void Conv(const ConvArgs& args);
  void DepthwiseGlu(const DepthwiseGluArgs& args);
  void TemporalConv(const TemporalConvArgs& args);

 private:
  virtual void DoConv(const ConvArgs& args) = 0;
  virtual void DoDepthwiseGlu(const DepthwiseGluArgs& args) = 0;
  virtual void DoTemporalConv(const TemporalConvArgs& args) = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_OPS_CONVOLUTION_H_
