// The transformer's modules: one pass, blocks with teacher-forced history, and both samplers.
#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/models/sana/causal_state.h"
#include "engine/models/sana/samplers.h"
#include "engine/models/sana/transformer.h"
#include "engine/models/folder/settings.h"
#include "engine/runner/modules.h"

namespace longtake {
namespace {

using Shape = std::vector<int64_t>;

// A prompt's cross K/V in a buffer of its own.
struct Prompt {
  std::unique_ptr<Buffer> data;
  int64_t tokens = 0;
  PromptKv kv() const { return {data->data(), tokens}; }
};

// Rows of encoder_hidden_states [batch, L, Wc] whose mask [batch, L] is set (all where none is), as cross K/V, one for
// each sample.
absl::StatusOr<std::vector<Prompt>> ReadPrompts(Ops& ops, const SanaTransformer& model, ModuleInputs& in,
                                                const std::string& prefix, int64_t batch) {
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
    auto caption = ops.Allocate(rows.size() * sizeof(float));
    ops.Upload(rows.data(), caption->data(), rows.size() * sizeof(float));
    auto scratch = ops.Allocate(model.PromptScratchBytes(p.tokens));
    p.data = ops.Allocate(model.PromptBytes(p.tokens));
    model.EncodePrompt(MakeMat(static_cast<const void*>(caption->data()), DType::kF32, p.tokens, shape[2]),
                       scratch->data(), p.data->data());
    prompts.push_back(std::move(p));
  }
  return prompts;
}

std::unique_ptr<Buffer> ToBackend(Ops& ops, const float* values, int64_t n) {
  auto buffer = ops.Allocate(n * sizeof(float));
  ops.Upload(values, buffer->data(), n * sizeof(float));
  return buffer;
}

std::vector<float> ToHost(Ops& ops, Buffer& buffer, int64_t n) {
  std::vector<float> values(n);
  ops.Download(buffer.data(), values.data(), n * sizeof(float));
  return values;
}

// Frames [first, first + count) of a [C, T, H*W] tensor, as [C, count, H*W].
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

// [.., C, T, H, W] at `at` must fit the model's channels and patches, and positions its rotary tables.
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

// One block's forward pass of one session, with scratch of its own size. `velocities` of all passes may be null.
void ForwardOnce(Ops& ops, const SanaTransformer& model, std::vector<TransformerPass> passes) {
  int64_t tokens = 0, rows = 0;
  for (const TransformerPass& p : passes) {
    tokens += model.Tokens(p.frames, p.height, p.width);
    rows += static_cast<int64_t>(p.timesteps.size());
  }
  auto scratch = ops.Allocate(model.ScratchBytes(tokens, rows));
  model.Forward(passes, scratch->data());
}

// Block lengths of the input, or what the settings say for T frames.
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

absl::StatusOr<std::unique_ptr<SanaTransformer>> LoadModel(Ops& ops, const ModuleRequest& request) {
  return SanaTransformer::Load(ops, request.model_dir + "/transformer", nullptr);
}

// A sampler adds velocities to latents: both have the same channels.
absl::StatusOr<std::unique_ptr<SanaTransformer>> LoadForSampling(Ops& ops, const ModuleRequest& request) {
  ASSIGN_OR_RETURN(auto model, LoadModel(ops, request));
  if (model->config().out_channels == model->config().in_channels) return model;
  return absl::InvalidArgumentError(
      absl::StrCat(request.model_dir, "/transformer/config.json: field 'out_channels' is ",
                   model->config().out_channels, ", samplers need in_channels, ", model->config().in_channels));
}

}  // namespace

absl::StatusOr<ModuleOutputs> RunTransformer(Ops& ops, const ModuleRequest& request, ModuleInputs& in) {
  ASSIGN_OR_RETURN(auto model, LoadModel(ops, request));
  Shape shape, t_shape;
  const std::vector<float> latents = in.Floats("hidden_states", 5, &shape);
  // Timesteps are [B], or [B, frames after patching].
  const bool per_frame = [&] {
    ModuleInputs probe = in;
    Shape s;
    probe.Floats("timestep", 1, &s);
    return !probe.status().ok();
  }();
  const std::vector<float> timesteps = in.Floats("timestep", per_frame ? 2 : 1, &t_shape);
  RETURN_IF_ERROR(in.status());
  CheckLatents(*model, "hidden_states", shape, 1, in);
  RETURN_IF_ERROR(in.status());
  ASSIGN_OR_RETURN(const std::vector<Prompt> prompts, ReadPrompts(ops, *model, in, "", shape[0]));
  const SanaConfig& c = model->config();
  const int64_t B = shape[0], per_sample = latents.size() / B, per_out = per_sample / c.in_channels * c.out_channels;
  const int64_t t_count = per_frame ? t_shape[1] : 1;
  if (t_shape[0] != B || (per_frame && t_count != shape[2] / c.patch[0] && t_count != 1)) {
    in.Fail("timestep", "must be [B] or [B, frames after patching]");
  }
  RETURN_IF_ERROR(in.status());

  auto x = ToBackend(ops, latents.data(), latents.size());
  auto v = ops.Allocate(B * per_out * sizeof(float));
  std::vector<TransformerPass> passes;
  for (int64_t b = 0; b < B; ++b) {
    passes.push_back({.latents = x->f32() + b * per_sample,
                      .frames = static_cast<int>(shape[2]),
                      .height = static_cast<int>(shape[3]),
                      .width = static_cast<int>(shape[4]),
                      .timesteps = {timesteps.begin() + b * t_count, timesteps.begin() + (b + 1) * t_count},
                      .prompt = prompts[b].kv(),
                      .velocity = v->f32() + b * per_out});
  }
  ForwardOnce(ops, *model, std::move(passes));
  return ModuleOutputs{{"sample", {{B, c.out_channels, shape[2], shape[3], shape[4]}, ToHost(ops, *v, B * per_out)}}};
}

absl::StatusOr<ModuleOutputs> RunTransformerBlocks(Ops& ops, const ModuleRequest& request, ModuleInputs& in) {
  ASSIGN_OR_RETURN(auto model, LoadModel(ops, request));
  ASSIGN_OR_RETURN(const ModelSettings settings, ModelSettings::Load(request.model_dir));
  Shape shape, clean_shape, t_shape;
  const std::vector<float> noisy = in.Floats("noisy", 5, &shape), clean = in.Floats("clean", 5, &clean_shape);
  const std::vector<float> timesteps = in.Floats("timestep", 1, &t_shape);
  RETURN_IF_ERROR(in.status());
  if (shape != clean_shape || shape[0] != 1) in.Fail("clean", "must have the shape of noisy, [1,C,T,H,W]");
  CheckLatents(*model, "noisy", shape, 1, in);
  RETURN_IF_ERROR(in.status());
  const SanaConfig& c = model->config();
  const std::vector<int64_t> lengths = Lengths(in, shape[2], c.patch[0], settings.block_latent_frames);
  if (timesteps.size() != lengths.size()) in.Fail("timestep", "must have one entry a block");
  RETURN_IF_ERROR(in.status());
  ASSIGN_OR_RETURN(const std::vector<Prompt> prompts, ReadPrompts(ops, *model, in, "", 1));

  const int64_t C = c.in_channels, T = shape[2], plane = shape[3] * shape[4];
  const int height = static_cast<int>(shape[3]), width = static_cast<int>(shape[4]);
  auto region = ops.Allocate(CausalState::Bytes(*model, settings.state_window_blocks, height, width));
  CausalState state(*model, settings.state_window_blocks, height, width, region->data());
  std::vector<float> sample(c.out_channels * T * plane);
  int64_t first = 0;
  for (size_t i = 0; i < lengths.size(); ++i) {
    const int64_t n = lengths[i];
    TransformerPass pass{.frames = static_cast<int>(n),
                         .height = height,
                         .width = width,
                         .first_frame = static_cast<int>(first / c.patch[0]),
                         .prompt = prompts[0].kv()};
    auto x = ToBackend(ops, SliceFrames(noisy.data(), C, T, plane, first, n).data(), C * n * plane);
    auto v = ops.Allocate(c.out_channels * n * plane * sizeof(float));
    pass.latents = x->f32();
    pass.timesteps = {timesteps[i]};
    pass.velocity = v->f32();
    state.Read(&pass);
    ForwardOnce(ops, *model, {pass});
    PutFrames(ToHost(ops, *v, c.out_channels * n * plane), c.out_channels, T, plane, first, n, sample.data());

    ops.Upload(SliceFrames(clean.data(), C, T, plane, first, n).data(), x->data(), C * n * plane * sizeof(float));
    pass.timesteps = {0.f};
    pass.velocity = nullptr;
    state.Write(&pass);
    ForwardOnce(ops, *model, {pass});
    state.Committed();
    first += n;
  }

  ModuleOutputs out{{"sample", {{1, c.out_channels, T, shape[3], shape[4]}, std::move(sample)}}};
  // What a next block would see: the history's entries added oldest first.
  TransformerPass next;
  state.Read(&next);
  const int64_t D = c.width(), S_floats = D * c.head_dim;
  for (int layer = 0; layer < c.layers; ++layer) {
    std::vector<float> total(S_floats + D, 0.f), part(S_floats + D);
    for (const float* entry : next.history) {
      ops.Download(entry + layer * (S_floats + D), part.data(), part.size() * sizeof(float));
      for (size_t i = 0; i < part.size(); ++i) total[i] += part[i];
    }
    out[absl::StrCat("state.S.", layer)] = {{c.heads, c.head_dim, c.head_dim},
                                            {total.begin(), total.begin() + S_floats}};
    out[absl::StrCat("state.z.", layer)] = {{c.heads, c.head_dim}, {total.begin() + S_floats, total.end()}};
  }
  return out;
}

absl::StatusOr<ModuleOutputs> RunFewStep(Ops& ops, const ModuleRequest& request, ModuleInputs& in) {
  ASSIGN_OR_RETURN(auto model, LoadForSampling(ops, request));
  ASSIGN_OR_RETURN(const ModelSettings settings, ModelSettings::Load(request.model_dir));
  if (!settings.causal) return absl::FailedPreconditionError("longtake.json: the folder is not block-causal");
  const FewStepSampler sampler(settings.timesteps, settings.shift);
  Shape shape;
  const std::vector<float> noise = in.Floats("noise", 5, &shape);
  RETURN_IF_ERROR(in.status());
  CheckLatents(*model, "noise", shape, 1, in);
  if (shape[0] != sampler.steps()) in.Fail("noise", absl::StrCat("must have one entry a step, ", sampler.steps()));
  RETURN_IF_ERROR(in.status());
  const SanaConfig& c = model->config();
  const std::vector<int64_t> lengths = Lengths(in, shape[2], c.patch[0], settings.block_latent_frames);
  RETURN_IF_ERROR(in.status());
  ASSIGN_OR_RETURN(const std::vector<Prompt> prompts, ReadPrompts(ops, *model, in, "", 1));
  const bool guided = settings.guidance != 1.0;
  std::vector<Prompt> negative;
  if (guided) {
    ASSIGN_OR_RETURN(negative, ReadPrompts(ops, *model, in, "negative_", 1));
  }

  const int64_t C = c.in_channels, T = shape[2], plane = shape[3] * shape[4];
  const int height = static_cast<int>(shape[3]), width = static_cast<int>(shape[4]);
  auto region = ops.Allocate(CausalState::Bytes(*model, settings.state_window_blocks, height, width));
  CausalState state(*model, settings.state_window_blocks, height, width, region->data());
  std::vector<float> latents(C * T * plane);
  int64_t first = 0;
  for (const int64_t n : lengths) {
    const int64_t count = C * n * plane;
    auto noise_of = [&](int step) {
      return ToBackend(ops, SliceFrames(noise.data() + step * C * T * plane, C, T, plane, first, n).data(), count);
    };
    auto x = noise_of(0);
    auto v = ops.Allocate(count * sizeof(float)), v_negative = ops.Allocate(count * sizeof(float));
    TransformerPass pass{.latents = x->f32(),
                         .frames = static_cast<int>(n),
                         .height = height,
                         .width = width,
                         .first_frame = static_cast<int>(first / c.patch[0])};
    for (int step = 0; step < sampler.steps(); ++step) {
      pass.timesteps = {sampler.timestep(step)};
      pass.prompt = prompts[0].kv();
      pass.velocity = v->f32();
      state.Read(&pass);
      std::vector<TransformerPass> passes = {pass};
      if (guided) {
        passes.push_back(pass);
        passes[1].prompt = negative[0].kv();
        passes[1].velocity = v_negative->f32();
      }
      ForwardOnce(ops, *model, std::move(passes));
      if (guided) Guide(ops, settings.guidance, v_negative->f32(), count, v->f32());
      auto fresh = sampler.needs_noise(step) ? noise_of(step + 1) : nullptr;
      sampler.Step(ops, step, v->f32(), fresh == nullptr ? nullptr : fresh->f32(), count, x->f32());
    }
    pass.timesteps = {0.f};
    pass.velocity = nullptr;
    state.Write(&pass);
    ForwardOnce(ops, *model, {pass});
    state.Committed();
    PutFrames(ToHost(ops, *x, count), C, T, plane, first, n, latents.data());
    first += n;
  }
  return ModuleOutputs{{"latents", {{C, T, shape[3], shape[4]}, std::move(latents)}}};
}

absl::StatusOr<ModuleOutputs> RunBidirectional(Ops& ops, const ModuleRequest& request, ModuleInputs& in) {
  ASSIGN_OR_RETURN(auto model, LoadForSampling(ops, request));
  ASSIGN_OR_RETURN(const ModelSettings settings, ModelSettings::Load(request.model_dir));
  const FlowDpmSampler sampler(request.steps, settings.flow_shift);
  Shape shape;
  const std::vector<float> noise = in.Floats("latents", 5, &shape);
  RETURN_IF_ERROR(in.status());
  CheckLatents(*model, "latents", shape, 1, in);
  if (shape[0] != 1) in.Fail("latents", "must be [1,C,T,H,W]");
  RETURN_IF_ERROR(in.status());
  ASSIGN_OR_RETURN(const std::vector<Prompt> prompts, ReadPrompts(ops, *model, in, "", 1));
  const bool guided = request.guidance != 1.0;
  std::vector<Prompt> negative;
  if (guided) {
    ASSIGN_OR_RETURN(negative, ReadPrompts(ops, *model, in, "negative_", 1));
  }
  const auto count = static_cast<int64_t>(noise.size());
  auto x = ToBackend(ops, noise.data(), count);
  auto v = ops.Allocate(count * sizeof(float)), v_negative = ops.Allocate(count * sizeof(float));
  auto x0 = ops.Allocate(count * sizeof(float)), x0_before = ops.Allocate(count * sizeof(float));
  for (int step = 0; step < sampler.steps(); ++step) {
    std::vector<TransformerPass> passes = {{.latents = x->f32(),
                                            .frames = static_cast<int>(shape[2]),
                                            .height = static_cast<int>(shape[3]),
                                            .width = static_cast<int>(shape[4]),
                                            .timesteps = {sampler.timestep(step)},
                                            .prompt = prompts[0].kv(),
                                            .velocity = v->f32()}};
    if (guided) {
      passes.push_back(passes[0]);
      passes[1].prompt = negative[0].kv();
      passes[1].velocity = v_negative->f32();
    }
    ForwardOnce(ops, *model, std::move(passes));
    if (guided) Guide(ops, request.guidance, v_negative->f32(), count, v->f32());
    sampler.Step(ops, step, v->f32(), count, x->f32(), x0->f32(), x0_before->f32());
    std::swap(x0, x0_before);
  }
  return ModuleOutputs{{"latents", {shape, ToHost(ops, *x, count)}}};
}

}  // namespace longtake
