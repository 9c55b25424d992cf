// The modules `vae_decoder` and `vae_encoder`.
#include "engine/models/wan/vae.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/runner/modules.h"

namespace longtake {
namespace {

// [1, channels, frames, height, width], each at least 1 and a size that an int holds even in pixels.
void CheckShape(ModuleInputs& in, const std::string& name, const std::vector<int64_t>& shape, int64_t channels) {
  constexpr int64_t kMax = std::numeric_limits<int>::max() / 4096;
  if (shape[0] != 1) in.Fail(name, absl::StrCat("has a batch of ", shape[0], ", must be 1"));
  if (shape[1] != channels) in.Fail(name, absl::StrCat("has ", shape[1], " channels, must have ", channels));
  for (size_t i = 2; i < shape.size(); ++i) {
    if (shape[i] < 1 || shape[i] > kMax) in.Fail(name, absl::StrCat("cannot have a dimension of ", shape[i]));
  }
}

// Frames [first, first + count) of [channels, frames, plane].
std::vector<float> Cut(const std::vector<float>& from, int64_t channels, int64_t frames, int64_t plane, int64_t first,
                       int64_t count) {
  std::vector<float> cut(channels * count * plane);
  for (int64_t c = 0; c < channels; ++c) {
    std::copy_n(from.data() + (c * frames + first) * plane, count * plane, cut.data() + c * count * plane);
  }
  return cut;
}

// Memory for one stream.
struct StreamMemory {
  StreamMemory(Ops& ops, const WanPlan& plan)
      : caches(ops.device().Allocate(plan.cache_bytes)),
        scratch(ops.device().Allocate(plan.scratch_bytes)),
        stream{.caches = caches->data()} {}
  std::unique_ptr<Buffer> caches, scratch;
  WanStream stream;
};

}  // namespace

absl::StatusOr<ModuleOutputs> RunVaeDecoder(Ops& ops, const ModuleRequest& request, ModuleInputs& in) {
  std::vector<int64_t> shape, count_shape;
  const std::vector<float> latents = in.Floats("latents", 5, &shape);
  std::vector<int64_t> blocks;
  if (in.Has("block_lengths")) blocks = in.Ints("block_lengths", 1, &count_shape);
  RETURN_IF_ERROR(in.status());
  ASSIGN_OR_RETURN(const WanVae vae, LoadWanVae(request.model_dir + "/vae", {.decoder = true}, &ops));
  const WanConfig& config = vae.config;
  CheckShape(in, "latents", shape, config.z_dim);
  const int64_t frames = shape[2];
  if (blocks.empty()) blocks = {frames};
  for (int64_t length : blocks) {
    if (length < 1 || length > frames) in.Fail("block_lengths", absl::StrCat("cannot hold ", length));
  }
  RETURN_IF_ERROR(in.status());
  if (const int64_t sum = std::accumulate(blocks.begin(), blocks.end(), int64_t{0}); sum != frames) {
    in.Fail("block_lengths", absl::StrCat("add up to ", sum, ", latents has ", frames, " frames"));
  }
  RETURN_IF_ERROR(in.status());

  const WanPlan plan = vae.decoder->Plan(static_cast<int>(shape[3]), static_cast<int>(shape[4]));
  StreamMemory memory(ops, plan);
  const FrameSize last = plan.stages.back();
  const int64_t height = int64_t{last.height} * config.patch, width = int64_t{last.width} * config.patch;
  const int64_t pixels = height * width;
  const std::unique_ptr<Buffer> planar = ops.device().Allocate(3 * pixels * sizeof(float));
  std::vector<float> frame(3 * pixels);
  OutputTensor out{.shape = {1, 3, config.Frames(frames), height, width}, .values = {}};
  out.values.resize(3 * out.shape[2] * pixels);
  int64_t done = 0, first = 0;
  const auto emit = [&](ConstMat pixels_last) {
    ops.latents().FrameToPlanar({.frame = pixels_last,
                                 .height = last.height,
                                 .width = last.width,
                                 .patch = config.patch,
                                 .planar = planar->f32()});
    ops.device().Download(planar->data(), frame.data(), frame.size() * sizeof(float));
    for (int64_t c = 0; c < 3; ++c) {
      std::copy_n(frame.data() + c * pixels, pixels, out.values.data() + (c * out.shape[2] + done) * pixels);
    }
    ++done;
  };
  for (int64_t length : blocks) {
    const std::vector<float> block = Cut(latents, config.z_dim, frames, shape[3] * shape[4], first, length);
    const std::unique_ptr<Buffer> on_device = ops.device().Allocate(block.size() * sizeof(float));
    ops.device().Upload(block.data(), on_device->data(), on_device->size());
    for (int64_t t = 0; t < length; ++t) {
      vae.decoder->Decode(plan, on_device->f32(), length, t, &memory.stream, memory.scratch->data(), emit);
    }
    first += length;
  }
  return ModuleOutputs{{"frames", std::move(out)}};
}

absl::StatusOr<ModuleOutputs> RunVaeEncoder(Ops& ops, const ModuleRequest& request, ModuleInputs& in) {
  std::vector<int64_t> shape;
  const std::vector<float> video = in.Floats("frames", 5, &shape);
  RETURN_IF_ERROR(in.status());
  ASSIGN_OR_RETURN(const WanVae vae, LoadWanVae(request.model_dir + "/vae", {.encoder = true}, &ops));
  const WanConfig& config = vae.config;
  CheckShape(in, "frames", shape, 3);
  RETURN_IF_ERROR(in.status());
  absl::StatusOr<WanPlan> plan = vae.encoder->Plan(static_cast<int>(shape[3]), static_cast<int>(shape[4]));
  if (!plan.ok()) return plan.status();

  // diffusers takes frames in groups of four after the first, whatever the model's factor, and leaves a rest out.
  const int64_t group = std::max(4, config.temporal_factor());
  const int64_t used = 1 + (shape[2] - 1) / group * group;
  const int64_t count = 1 + (used - 1) / config.temporal_factor();
  const FrameSize last = plan->stages.back();
  OutputTensor out{.shape = {1, config.z_dim, count, last.height, last.width}, .values = {}};
  out.values.resize(config.z_dim * count * last.pixels());
  StreamMemory memory(ops, *plan);
  const std::unique_ptr<Buffer> latents = ops.device().Allocate(out.values.size() * sizeof(float));
  const int64_t pixels = shape[3] * shape[4];
  const std::unique_ptr<Buffer> planar = ops.device().Allocate(3 * pixels * sizeof(float));
  int64_t done = 0;
  for (int64_t f = 0; f < used; ++f) {
    const std::vector<float> frame = Cut(video, 3, shape[2], pixels, f, 1);
    ops.device().Upload(frame.data(), planar->data(), frame.size() * sizeof(float));
    done +=
        vae.encoder->Encode(*plan, planar->f32(), &memory.stream, memory.scratch->data(), count, done, latents->f32());
  }
  ops.device().Download(latents->data(), out.values.data(), out.values.size() * sizeof(float));
  return ModuleOutputs{{"latents", std::move(out)}};
}

}  // namespace longtake
