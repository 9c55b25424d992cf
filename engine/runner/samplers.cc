// The modules `few_step` and `bidirectional`: run the folder's sampler on given noise.
#include "engine/models/sana/samplers.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/models/folder/settings.h"
#include "engine/models/sana/causal_state.h"
#include "engine/runner/first_image.h"
#include "engine/runner/modules.h"
#include "engine/runner/passes.h"

namespace longtake {
namespace {

// Samplers add velocities to latents, so both must have the same number of channels.
absl::StatusOr<std::unique_ptr<SanaTransformer>> LoadForSampling(Ops& ops, const ModuleRequest& request) {
  ASSIGN_OR_RETURN(auto model, LoadModel(ops, request));
  if (model->config().out_channels == model->config().in_channels) return model;
  return absl::InvalidArgumentError(
      absl::StrCat(request.model_dir, "/transformer/config.json: field 'out_channels' is ",
                   model->config().out_channels, ", samplers need in_channels, ", model->config().in_channels));
}

// The buffers of a sampler's steps.
struct SamplerBuffers {
  SamplerBuffers(Ops& ops, const Sampler& sampler, int64_t n) {
    for (int i = 0; i < sampler.buffers(); ++i) {
      owned.push_back(ops.device().Allocate(n * sizeof(float)));
      pointers.push_back(owned.back()->f32());
    }
  }
  std::vector<std::unique_ptr<Buffer>> owned;
  std::vector<float*> pointers;
};

// Timesteps of a block's `frames` frames, of which the first is held: 0 for it, `t` for the others.
std::vector<float> HeldTimesteps(int64_t frames, float t) {
  std::vector<float> timesteps(frames, t);
  timesteps[0] = 0.f;
  return timesteps;
}

// Puts the image in the place of the first of the latents' frames, x [C, frames, plane] on the device.
void Hold(Ops& ops, const std::vector<float>& image, int64_t C, int64_t frames, Buffer& x) {
  const int64_t plane = static_cast<int64_t>(image.size()) / C;
  std::vector<float> values = ToHost(ops, x, C * frames * plane);
  PutFrames(image, C, frames, plane, 0, 1, values.data());
  ops.device().Upload(values.data(), x.data(), values.size() * sizeof(float));
}

}  // namespace

absl::StatusOr<ModuleOutputs> RunFewStep(Ops& ops, const ModuleRequest& request, ModuleInputs& in) {
  ASSIGN_OR_RETURN(auto model, LoadForSampling(ops, request));
  ASSIGN_OR_RETURN(const ModelSettings settings, ModelSettings::Load(request.model_dir));
  if (!settings.causal) return absl::FailedPreconditionError("longtake.json: the folder is not block-causal");
  const std::unique_ptr<Sampler> sampler = std::move(MakeSamplers(settings)[0]);
  Shape shape;
  const std::vector<float> noise = in.Floats("noise", 5, &shape);
  RETURN_IF_ERROR(in.status());
  CheckLatents(*model, "noise", shape, 1, in);
  if (shape[0] != sampler->steps()) in.Fail("noise", absl::StrCat("must have one entry a step, ", sampler->steps()));
  RETURN_IF_ERROR(in.status());
  const SanaConfig& c = model->config();
  const std::vector<int64_t> lengths = Lengths(in, shape[2], c.patch[0], settings.block_latent_frames);
  RETURN_IF_ERROR(in.status());
  ASSIGN_OR_RETURN(const std::vector<Prompt> prompts, ReadPrompts(ops, *model, in, "", 1));
  const bool guided = settings.guided();
  std::vector<Prompt> negative;
  if (guided) {
    ASSIGN_OR_RETURN(negative, ReadPrompts(ops, *model, in, "negative_", 1));
  }

  const int64_t C = c.in_channels, T = shape[2], plane = shape[3] * shape[4];
  ASSIGN_OR_RETURN(const std::vector<float> image,
                   EncodeFirstImage(ops, request, in, model->config().patch[0], C, shape[3], shape[4]));
  if (!image.empty() && settings.first_image == FirstImageUse::kNone) {
    return absl::FailedPreconditionError("longtake.json: field 'first_image' is \"none\"");
  }
  const bool prefix = !image.empty() && settings.first_image == FirstImageUse::kPrefix;
  if (prefix && lengths[0] < 2) in.Fail("block_lengths", "leave nothing of the first block behind the image");
  RETURN_IF_ERROR(in.status());
  const int height = static_cast<int>(shape[3]), width = static_cast<int>(shape[4]);
  auto region = ops.device().Allocate(CausalState::Bytes(*model, settings.state_window_blocks, height, width));
  CausalState state(*model, settings.state_window_blocks, height, width, region->data());
  std::vector<float> latents(C * T * plane);
  int64_t first = 0;
  if (prefix) {  // a finished block of one frame
    auto x = ToDevice(ops, image.data(), C * plane);
    TransformerPass pass{.latents = x->f32(), .frames = 1, .height = height, .width = width, .timesteps = {0.f}};
    pass.prompt = prompts[0].kv();
    state.Write(&pass);
    ForwardOnce(ops, *model, {pass});
    state.Committed();
    PutFrames(image, C, T, plane, 0, 1, latents.data());
    first = 1;
  }
  for (size_t block = 0; block < lengths.size(); ++block) {
    const int64_t n = lengths[block] - (prefix && block == 0 ? 1 : 0);
    const bool held = !image.empty() && !prefix && block == 0;
    const int64_t count = C * n * plane;
    auto noise_of = [&](int step) { return SliceFrames(noise.data() + step * C * T * plane, C, T, plane, first, n); };
    auto x = ToDevice(ops, noise_of(0).data(), count);
    if (held) Hold(ops, image, C, n, *x);
    const SamplerBuffers buffers(ops, *sampler, count);
    auto v = ops.device().Allocate(count * sizeof(float)), v_negative = ops.device().Allocate(count * sizeof(float));
    TransformerPass pass{.latents = x->f32(),
                         .frames = static_cast<int>(n),
                         .height = height,
                         .width = width,
                         .first_frame = static_cast<int>(first / c.patch[0])};
    for (int step = 0; step < sampler->steps(); ++step) {
      pass.timesteps = {sampler->timestep(step)};
      if (held) pass.timesteps = HeldTimesteps(n, sampler->timestep(step));
      pass.prompt = prompts[0].kv();
      pass.velocity = v->f32();
      state.Read(&pass);
      std::vector<TransformerPass> passes = {pass};
      if (guided) {
        passes.push_back(pass);
        passes[1].prompt = negative[0].kv();
        passes[1].velocity = v_negative->f32();
      }
      ForwardOnce(ops, *model, passes);
      if (guided) Guide(ops, settings.guidance, v_negative->f32(), count, v->f32());
      if (sampler->needs_noise(step)) {
        ops.device().Upload(noise_of(step + 1).data(), buffers.pointers[0], count * sizeof(float));
      }
      sampler->Step(ops, {.step = step, .n = count, .velocity = v->f32(), .x = x->f32(), .buffers = buffers.pointers});
      if (held) Hold(ops, image, C, n, *x);
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
  ASSIGN_OR_RETURN(ModelSettings settings, ModelSettings::Load(request.model_dir));
  if (settings.causal) return absl::FailedPreconditionError("longtake.json: the folder is block-causal");
  settings.steps = request.steps;
  const std::unique_ptr<Sampler> sampler = std::move(MakeSamplers(settings)[0]);
  Shape shape;
  const std::vector<float> noise = in.Floats("latents", 5, &shape);
  RETURN_IF_ERROR(in.status());
  CheckLatents(*model, "latents", shape, 1, in);
  // What noise the steps add comes behind the latents.
  int entries = 1;
  while (sampler->needs_noise(entries - 1)) ++entries;
  if (shape[0] != entries) in.Fail("latents", absl::StrCat("must be [", entries, ",C,T,H,W]"));
  RETURN_IF_ERROR(in.status());
  ASSIGN_OR_RETURN(const std::vector<Prompt> prompts, ReadPrompts(ops, *model, in, "", 1));
  const bool guided = request.guidance > 1.0;
  std::vector<Prompt> negative;
  if (guided) {
    ASSIGN_OR_RETURN(negative, ReadPrompts(ops, *model, in, "negative_", 1));
  }
  const auto count = static_cast<int64_t>(noise.size()) / entries;
  const int64_t C = shape[1], frames = shape[2];
  ASSIGN_OR_RETURN(const std::vector<float> image,
                   EncodeFirstImage(ops, request, in, model->config().patch[0], C, shape[3], shape[4]));
  auto x = ToDevice(ops, noise.data(), count);
  if (!image.empty()) Hold(ops, image, C, frames, *x);
  auto v = ops.device().Allocate(count * sizeof(float)), v_negative = ops.device().Allocate(count * sizeof(float));
  const SamplerBuffers buffers(ops, *sampler, count);
  for (int step = 0; step < sampler->steps(); ++step) {
    std::vector<TransformerPass> passes = {{.latents = x->f32(),
                                            .frames = static_cast<int>(shape[2]),
                                            .height = static_cast<int>(shape[3]),
                                            .width = static_cast<int>(shape[4]),
                                            .timesteps = {sampler->timestep(step)},
                                            .prompt = prompts[0].kv(),
                                            .velocity = v->f32()}};
    if (!image.empty()) passes[0].timesteps = HeldTimesteps(frames, sampler->timestep(step));
    if (guided) {
      passes.push_back(passes[0]);
      passes[1].prompt = negative[0].kv();
      passes[1].velocity = v_negative->f32();
    }
    ForwardOnce(ops, *model, passes);
    if (guided) Guide(ops, request.guidance, v_negative->f32(), count, v->f32());
    if (sampler->needs_noise(step)) {
      ops.device().Upload(noise.data() + (step + 1) * count, buffers.pointers[0], count * sizeof(float));
    }
    sampler->Step(ops, {.step = step, .n = count, .velocity = v->f32(), .x = x->f32(), .buffers = buffers.pointers});
    if (!image.empty()) Hold(ops, image, C, frames, *x);
  }
  shape[0] = 1;
  return ModuleOutputs{{"latents", {shape, ToHost(ops, *x, count)}}};
}

}  // namespace longtake
