#include "engine/runner/passes.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/status_macros.h"
#include "engine/models/lora/load.h"
#include "engine/models/sana/causal_state.h"

namespace longtake {

absl::StatusOr<std::vector<Prompt>> ReadPrompts(Ops& ops, const SanaTransformer& model, ModuleInputs& in,
                                                const std::string& prefix, int64_t batch,
                                                std::span<const AppliedAdapter> adapters) {
  Shape shape, mask_shape;
  const std::vector<float> states = in.Floats(prefix + "encoder_hidden_states", 3, &shape);
  const std::vector<int64_t> mask = in.Ints(prefix + "encoder_attention_mask", 2, &mask_shape);
  if (shape[2] != model.config().caption_channels) {
    in.Fail(prefix + "encoder_hidden_states", absl::StrCat("width ", shape[2], " is not the model's caption_channels"));
  }
  if (shape[0] != batch) {
    in.Fail(prefix + "encoder_hidden_states", absl::StrCat("has a batch of ", shape[0], ", must be ", batch));
  }
  if (mask_shape[0] != shape[0] || mask_shape[1] != shape[1]) {
    in.Fail(prefix + "encoder_attention_mask", "does not fit the hidden states");
  }
  RETURN_IF_ERROR(in.status());
  std::vector<Prompt> prompts;
  for (int64_t b = 0; b < shape[0]; ++b) {
    const auto* row_mask = mask.data() + b * shape[1];
    const bool none = std::all_of(row_mask, row_mask + shape[1], [](int64_t m) { return m == 0; });
    std::vector<float> rows;
    for (int64_t l = 0; l < shape[1]; ++l) {
      if (row_mask[l] == 0 && !none) continue;
      const float* row = states.data() + (b * shape[1] + l) * shape[2];
      rows.insert(rows.end(), row, row + shape[2]);
    }
    Prompt p{.tokens = static_cast<int64_t>(rows.size()) / shape[2]};
    auto caption = ops.device().Allocate(rows.size() * sizeof(float));
    ops.device().Upload(rows.data(), caption->data(), rows.size() * sizeof(float));
    auto scratch = ops.device().Allocate(model.PromptScratchBytes(p.tokens));
    p.data = ops.device().Allocate(model.PromptBytes(p.tokens));
    model.EncodePrompt(MakeMat(static_cast<const void*>(caption->data()), DType::kF32, p.tokens, shape[2]), adapters,
                       scratch->data(), p.data->data());
    prompts.push_back(std::move(p));
  }
  return prompts;
}

std::unique_ptr<Buffer> ToDevice(Ops& ops, const float* values, int64_t n) {
  auto buffer = ops.device().Allocate(n * sizeof(float));
  ops.device().Upload(values, buffer->data(), n * sizeof(float));
  return buffer;
}

std::vector<float> ToHost(Ops& ops, Buffer& buffer, int64_t n) {
  std::vector<float> values(n);
  ops.device().Download(buffer.data(), values.data(), n * sizeof(float));
  return values;
}

std::vector<float> SliceFrames(const float* x, int64_t C, int64_t T, int64_t plane, int64_t first, int64_t count) {
  std::vector<float> out(C * count * plane);
  for (int64_t c = 0; c < C; ++c) {
    std::memcpy(out.data() + c * count * plane, x + (c * T + first) * plane, count * plane * sizeof(float));
  }
  return out;
}

void PutFrames(const std::vector<float>& block, int64_t C, int64_t T, int64_t plane, int64_t first, int64_t count,
               float* x) {
  for (int64_t c = 0; c < C; ++c) {
    std::memcpy(x + (c * T + first) * plane, block.data() + c * count * plane, count * plane * sizeof(float));
  }
}

void CheckLatents(const SanaTransformer& model, const std::string& name, const Shape& shape, size_t at,
                  ModuleInputs& in) {
  const SanaConfig& c = model.config();
  if (shape[at] != c.in_channels) {
    in.Fail(name, absl::StrCat("has ", shape[at], " channels, the model ", c.in_channels));
    return;
  }
  for (int i = 0; i < 3; ++i) {
    const int64_t extent = shape[at + 1 + i];
    if (extent % c.patch[i] != 0) in.Fail(name, absl::StrCat("dimension ", at + 1 + i, " is no multiple of the patch"));
    if (extent / c.patch[i] > c.rope_max_positions) {
      in.Fail(name, absl::StrCat("dimension ", at + 1 + i, " exceeds rope_max_seq_len"));
    }
  }
}

void ForwardOnce(Ops& ops, const SanaTransformer& model, const std::vector<TransformerPass>& passes) {
  int64_t tokens = 0, rows = 0;
  for (const TransformerPass& p : passes) {
    tokens += model.Tokens(p.frames, p.height, p.width);
    rows += static_cast<int64_t>(p.timesteps.size());
  }
  auto scratch = ops.device().Allocate(model.ScratchBytes(tokens, rows));
  model.Forward(passes, scratch->data());
}

std::vector<int64_t> Lengths(ModuleInputs& in, int64_t T, int64_t patch_t, int block) {
  std::vector<int64_t> lengths;
  if (in.Has("block_lengths")) {
    Shape shape;
    lengths = in.Ints("block_lengths", 1, &shape);
  } else {
    for (int n : BlockLengths(static_cast<int>(T), block)) lengths.push_back(n);
  }
  int64_t sum = 0;
  for (int64_t n : lengths) {
    if (n <= 0 || n > T || n % patch_t != 0) {
      in.Fail("block_lengths", "must be positive multiples of the temporal patch, at most the frames");
      return {};
    }
    sum += n;
  }
  if (sum != T) in.Fail("block_lengths", absl::StrCat("add up to ", sum, " frames, not ", T));
  return lengths;
}

absl::StatusOr<Adapters> ReadAdapters(Ops& ops, const SanaTransformer& model, const ModuleRequest& request) {
  Adapters adapters;
  if (request.adapters.empty()) return adapters;
  if (!ops.dense().adds_low_rank()) {
    return absl::InvalidArgumentError(absl::StrCat("--adapter: ", ops.device().name(), " computes without adapters"));
  }
  ASSIGN_OR_RETURN(const std::vector<AdapterFiles> files, ListAdapters(request.model_dir + "/adapters"));
  for (const std::string& text : request.adapters) {
    const std::pair<std::string, std::string> use = absl::StrSplit(text, absl::MaxSplits('=', 1));
    float strength = 1.f;
    const auto file = std::find_if(files.begin(), files.end(), [&](const auto& f) { return f.name == use.first; });
    if (file == files.end() || (!use.second.empty() && !absl::SimpleAtof(use.second, &strength))) {
      return absl::InvalidArgumentError(absl::StrCat("--adapter: \"", text, "\" is no NAME or NAME=STRENGTH of one"));
    }
    ASSIGN_OR_RETURN(adapters.loaded.emplace_back(), LoadAdapter(ops, *file, model.layers()));
    adapters.applied.push_back({adapters.loaded.back().get(), strength});
  }
  return adapters;
}

absl::StatusOr<std::unique_ptr<SanaTransformer>> LoadModel(Ops& ops, const ModuleRequest& request) {
  return SanaTransformer::Load(ops, request.model_dir + "/transformer", nullptr);
}

}  // namespace longtake
