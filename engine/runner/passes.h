// Helpers of the transformer's modules: prompts, latents and single passes.
#ifndef LONGTAKE_ENGINE_RUNNER_PASSES_H_
#define LONGTAKE_ENGINE_RUNNER_PASSES_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/models/sana/transformer.h"
#include "engine/ops/ops.h"
#include "engine/runner/modules.h"

namespace longtake {

using Shape = std::vector<int64_t>;

// A prompt's cross K/V in its own buffer.
struct Prompt {
  std::unique_ptr<Buffer> data;
  int64_t tokens = 0;
  PromptKv kv() const { return {data->data(), tokens}; }
};

struct Adapters {
  std::vector<std::shared_ptr<const Adapter>> loaded;
  std::vector<AppliedAdapter> applied;
};

// Loads the adapters that the request names. Errors name the option or the file.
absl::StatusOr<Adapters> ReadAdapters(Ops& ops, const SanaTransformer& model, const ModuleRequest& request);

// Encodes each sample's rows of encoder_hidden_states [batch, L, Wc] whose mask [batch, L] is set, or all rows if none
// is, as cross K/V.
absl::StatusOr<std::vector<Prompt>> ReadPrompts(Ops& ops, const SanaTransformer& model, ModuleInputs& in,
                                                const std::string& prefix, int64_t batch,
                                                std::span<const AppliedAdapter> adapters = {});

std::unique_ptr<Buffer> ToDevice(Ops& ops, const float* values, int64_t n);
std::vector<float> ToHost(Ops& ops, Buffer& buffer, int64_t n);

// SliceFrames copies frames [first, first + count) of a [C, T, plane] tensor to [C, count, plane]; PutFrames copies
// back.
std::vector<float> SliceFrames(const float* x, int64_t C, int64_t T, int64_t plane, int64_t first, int64_t count);
void PutFrames(const std::vector<float>& block, int64_t C, int64_t T, int64_t plane, int64_t first, int64_t count,
               float* x);

// Checks that [.., C, T, H, W] at index `at` of `shape` fits the model's channels, patches and rotary positions.
void CheckLatents(const SanaTransformer& model, const std::string& name, const Shape& shape, size_t at,
                  ModuleInputs& in);

// Returns the input's block lengths, or those that the settings give for T frames.
std::vector<int64_t> Lengths(ModuleInputs& in, int64_t T, int64_t patch_t, int block);

absl::StatusOr<std::unique_ptr<SanaTransformer>> LoadModel(Ops& ops, const ModuleRequest& request);

// Runs the passes as one batch, with scratch of just their size.
void ForwardOnce(Ops& ops, const SanaTransformer& model, const std::vector<TransformerPass>& passes);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNNER_PASSES_H_
