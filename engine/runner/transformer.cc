// The modules `transformer` (one pass) and `transformer_blocks` (blocks whose history is given clean latents).
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/models/folder/settings.h"
#include "engine/models/sana/causal_state.h"
#include "engine/runner/modules.h"
#include "engine/runner/passes.h"

namespace longtake {

absl::StatusOr<ModuleOutputs> RunTransformer(Ops& ops, const ModuleRequest& request, ModuleInputs& in) {
  ASSIGN_OR_RETURN(auto model, LoadModel(ops, request));
  ASSIGN_OR_RETURN(const Adapters adapters, ReadAdapters(ops, *model, request));
  Shape shape, t_shape;
  const std::vector<float> latents = in.Floats("hidden_states", 5, &shape);
  // Timesteps are [B] or [B, frames after patching].
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
  ASSIGN_OR_RETURN(const std::vector<Prompt> prompts, ReadPrompts(ops, *model, in, "", shape[0], adapters.applied));
  const SanaConfig& c = model->config();
  const int64_t B = shape[0], per_sample = latents.size() / B, per_out = per_sample / c.in_channels * c.out_channels;
  const int64_t t_count = per_frame ? t_shape[1] : 1;
  if (t_shape[0] != B || (per_frame && t_count != shape[2] / c.patch[0] && t_count != 1)) {
    in.Fail("timestep", "must be [B] or [B, frames after patching]");
  }
  RETURN_IF_ERROR(in.status());

  auto x = ToDevice(ops, latents.data(), latents.size());
  auto v = ops.device().Allocate(B * per_out * sizeof(float));
  std::vector<TransformerPass> passes;
  for (int64_t b = 0; b < B; ++b) {
    passes.push_back({.latents = x->f32() + b * per_sample,
                      .frames = static_cast<int>(shape[2]),
                      .height = static_cast<int>(shape[3]),
                      .width = static_cast<int>(shape[4]),
                      .timesteps = {timesteps.begin() + b * t_count, timesteps.begin() + (b + 1) * t_count},
                      .prompt = prompts[b].kv(),
                      .adapters = adapters.applied,
                      .velocity = v->f32() + b * per_out});
  }
  ForwardOnce(ops, *model, passes);
  return ModuleOutputs{{"sample", {{B, c.out_channels, shape[2], shape[3], shape[4]}, ToHost(ops, *v, B * per_out)}}};
}

absl::StatusOr<ModuleOutputs> RunTransformerBlocks(Ops& ops, const ModuleRequest& request, ModuleInputs& in) {
  ASSIGN_OR_RETURN(auto model, LoadModel(ops, request));
  ASSIGN_OR_RETURN(const Adapters adapters, ReadAdapters(ops, *model, request));
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
  ASSIGN_OR_RETURN(const std::vector<Prompt> prompts, ReadPrompts(ops, *model, in, "", 1, adapters.applied));

  const int64_t C = c.in_channels, T = shape[2], plane = shape[3] * shape[4];
  const int height = static_cast<int>(shape[3]), width = static_cast<int>(shape[4]);
  auto region = ops.device().Allocate(CausalState::Bytes(*model, settings.state_window_blocks, height, width));
  CausalState state(*model, settings.state_window_blocks, height, width, region->data());
  std::vector<float> sample(c.out_channels * T * plane);
  int64_t first = 0;
  for (size_t i = 0; i < lengths.size(); ++i) {
    const int64_t n = lengths[i];
    TransformerPass pass{.frames = static_cast<int>(n),
                         .height = height,
                         .width = width,
                         .first_frame = static_cast<int>(first / c.patch[0]),
                         .prompt = prompts[0].kv(),
                         .adapters = adapters.applied};
    auto x = ToDevice(ops, SliceFrames(noisy.data(), C, T, plane, first, n).data(), C * n * plane);
    auto v = ops.device().Allocate(c.out_channels * n * plane * sizeof(float));
    pass.latents = x->f32();
    pass.timesteps = {timesteps[i]};
    pass.velocity = v->f32();
    state.Read(&pass);
    ForwardOnce(ops, *model, {pass});
    PutFrames(ToHost(ops, *v, c.out_channels * n * plane), c.out_channels, T, plane, first, n, sample.data());

    ops.device().Upload(SliceFrames(clean.data(), C, T, plane, first, n).data(), x->data(),
                        C * n * plane * sizeof(float));
    pass.timesteps = {0.f};
    pass.velocity = nullptr;
    state.Write(&pass);
    ForwardOnce(ops, *model, {pass});
    state.Committed();
    first += n;
  }

  ModuleOutputs out{{"sample", {{1, c.out_channels, T, shape[3], shape[4]}, std::move(sample)}}};
  // The history that a next block would read, summed oldest first.
  TransformerPass next;
  state.Read(&next);
  const int64_t D = c.width(), S_floats = D * c.head_dim;
  for (int layer = 0; layer < c.layers; ++layer) {
    std::vector<float> total(S_floats + D, 0.f), part(S_floats + D);
    for (const float* entry : next.history) {
      ops.device().Download(entry + layer * (S_floats + D), part.data(), part.size() * sizeof(float));
      for (size_t i = 0; i < part.size(); ++i) total[i] += part[i];
    }
    out[absl::StrCat("state.S.", layer)] = {{c.heads, c.head_dim, c.head_dim},
                                            {total.begin(), total.begin() + S_floats}};
    out[absl::StrCat("state.z.", layer)] = {{c.heads, c.head_dim}, {total.begin() + S_floats, total.end()}};
  }
  return out;
}

}  // namespace longtake
