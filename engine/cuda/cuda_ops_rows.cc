// Norms and other operations on rows and elements: arguments to launches.
#include <new>

#include "engine/core/float16.h"
#include "engine/cuda/cuda_ops_impl.h"
#include "engine/cuda/kernels/norms.h"
#include "engine/cuda/kernels/pointwise.h"

namespace longtake::cuda {

void CudaOps::Convert(ConstMat from, Mat to) { RunActivate(context_->launcher(), from, Act::kNone, to); }

void CudaOps::LayerNormModulate(ConstMat x, float eps, const float* shift, const float* scale, int64_t mod_stride,
                                std::span<const int32_t> mod_row, Mat y) {
  Modulation modulation;
  if (scale != nullptr) modulation = {shift, scale, mod_stride, context_->staging().PutKept(mod_row)};
  RunLayerNorm(context_->launcher(), x, eps, modulation, y);
}

void CudaOps::RmsNorm(ConstMat x, const float* weight, float weight_offset, float eps, bool residual, Mat y) {
  RunRmsNorm(context_->launcher(), x, weight, weight_offset, eps, residual, y);
}

void CudaOps::Activate(ConstMat x, Activation a, Mat y) { RunActivate(context_->launcher(), x, ActOf(a), y); }

void CudaOps::AddRow(ConstMat x, const float* row, Mat y) { RunAddRow(context_->launcher(), x, row, y); }

void CudaOps::ChannelNorm(ConstMat x, const float* gamma, bool silu, Mat y) {
  RunChannelNorm(context_->launcher(), x, gamma, silu, y);
}

void CudaOps::TimestepSinusoids(std::span<const float> t, Mat y) {
  RunTimestepSinusoids(context_->launcher(), context_->staging().Put(t), y);
}

// In bf16, as all weights; Gemma's are published so.
std::unique_ptr<Buffer> CudaOps::PackEmbedding(const HostTensor& table) {
  const std::vector<float> values = ToFloats(table);
  std::vector<uint16_t> narrow(values.size());
  for (size_t i = 0; i < values.size(); ++i) narrow[i] = FloatToBF16(values[i]);
  auto buffer = Allocate(narrow.size() * sizeof(uint16_t));
  Upload(narrow.data(), buffer->data(), narrow.size() * sizeof(uint16_t));
  context_->launcher().Check(cudaStreamSynchronize(context_->stream()), "embedding");  // `narrow` goes
  return buffer;
}

void CudaOps::Embed(Buffer& table, std::span<const int32_t> ids, float scale, Mat y) {
  RunEmbed(context_->launcher(), table.data(), context_->staging().Put(ids), scale, y);
}

void CudaOps::Combine(std::span<const CombineTerm> terms, int64_t n, float* out) {
  CombineTerms all;
  if (terms.size() > CombineTerms::kMost) {  // samplers add three
    context_->launcher().Check(cudaErrorInvalidValue, "combine: too many terms");
    return;
  }
  for (const CombineTerm& t : terms) {
    all.weight[all.count] = t.weight;
    all.x[all.count++] = t.x;
  }
  RunCombine(context_->launcher(), all, n, out);
}

void CudaOps::FillNormal(uint64_t seed, uint32_t block, uint32_t step, int64_t n, float* out) {
  RunFillNormal(context_->launcher(), seed, block, step, n, out);
}

}  // namespace longtake::cuda
