// The modules `vae_decoder` and `vae_encoder`.
#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/models/folder/folder_contents.h"
#include "engine/models/taehv/load.h"
#include "engine/models/video/load.h"
#include "engine/runner/modules.h"

namespace longtake {
namespace {

// Checks [1, channels, frames, height, width]. Each size is at least 1 and small enough for an int in pixels.
void CheckShape(ModuleInputs& in, const std::string& name, const std::vector<int64_t>& shape, int64_t channels) {
  constexpr int64_t kMax = std::numeric_limits<int>::max() / 4096;
  if (shape[0] != 1) in.Fail(name, absl::StrCat("has a batch of ", shape[0], ", must be 1"));
  if (shape[1] != channels) in.Fail(name, absl::StrCat("has ", shape[1], " channels, must have ", channels));
  for (size_t i = 2; i < shape.size(); ++i) {
    if (shape[i] < 1 || shape[i] > kMax) in.Fail(name, absl::StrCat("cannot have a dimension of ", shape[i]));
  }
}

// Copies frames [first, first + count) of [channels, frames, plane].
std::vector<float> Cut(const std::vector<float>& from, int64_t channels, int64_t frames, int64_t plane, int64_t first,
                       int64_t count) {
  std::vector<float> cut(channels * count * plane);
  for (int64_t c = 0; c < channels; ++c) {
    std::copy_n(from.data() + (c * frames + first) * plane, count * plane, cut.data() + c * count * plane);
  }
  return cut;
}

// The caches and scratch of one stream.
struct StreamMemory {
  template <typename Sized>
  StreamMemory(Ops& ops, const Sized& sized)
      : caches(ops.device().Allocate(sized.cache_bytes())),
        scratch(ops.device().Allocate(sized.scratch_bytes())),
        stream{.caches = caches->data()} {}
  std::unique_ptr<Buffer> caches, scratch;
  VideoStream stream;
};

// Returns the input's block lengths, which must add up to `frames`, or one block of all frames.
std::vector<int64_t> DecodedBlocks(ModuleInputs& in, int64_t frames) {
  if (!in.Has("block_lengths")) return {frames};
  std::vector<int64_t> shape;
  std::vector<int64_t> blocks = in.Ints("block_lengths", 1, &shape);
  for (int64_t length : blocks) {
    if (length < 1 || length > frames) in.Fail("block_lengths", absl::StrCat("cannot hold ", length));
  }
  if (const int64_t sum = std::accumulate(blocks.begin(), blocks.end(), int64_t{0}); sum != frames) {
    in.Fail("block_lengths", absl::StrCat("add up to ", sum, ", latents has ", frames, " frames"));
  }
  return blocks;
}

// Loads the VAE's decoder, or the tiny one. A folder may consist of a tiny decoder alone.
absl::StatusOr<std::unique_ptr<VideoDecoder>> LoadDecoder(Ops& ops, const ModuleRequest& request) {
  const std::string vae = request.model_dir + "/vae";
  if (!request.tiny) {
    ASSIGN_OR_RETURN(VideoVae full, LoadVideoVae(vae, {.decoder = true}, &ops));
    return std::move(full.decoder);
  }
  ASSIGN_OR_RETURN(const std::string file, FindTinyDecoder(request.model_dir));
  if (file.empty()) return absl::NotFoundError(absl::StrCat(request.model_dir, "/tiny_decoder: is missing"));
  if (!PathExists(vae + "/config.json")) return LoadTinyDecoder(file, nullptr, &ops);
  ASSIGN_OR_RETURN(const LatentGeometry geometry, ReadVideoGeometry(vae));
  return LoadTinyDecoder(file, &geometry, &ops);
}

// Collects decoded frames as [1, 3, frames, height, width].
class FrameCollector {
 public:
  FrameCollector(Ops& ops, int64_t frames, int64_t height, int64_t width)
      : ops_(ops),
        pixels_(height * width),
        planar_(ops.device().Allocate(3 * pixels_ * sizeof(float))),
        frame_(3 * pixels_),
        out_{.shape = {1, 3, frames, height, width}, .values = std::vector<float>(3 * frames * pixels_)} {}

  void Add(const VideoFrame& frame) {
    ToPlanar(ops_, frame, planar_->f32());
    ops_.device().Download(planar_->data(), frame_.data(), frame_.size() * sizeof(float));
    for (int64_t c = 0; c < 3; ++c) {
      std::copy_n(frame_.data() + c * pixels_, pixels_, out_.values.data() + (c * out_.shape[2] + done_) * pixels_);
    }
    ++done_;
  }
  OutputTensor Take() { return std::move(out_); }

 private:
  Ops& ops_;
  const int64_t pixels_;
  const std::unique_ptr<Buffer> planar_;
  std::vector<float> frame_;
  OutputTensor out_;
  int64_t done_ = 0;
};

}  // namespace

absl::StatusOr<ModuleOutputs> RunVaeDecoder(Ops& ops, const ModuleRequest& request, ModuleInputs& in) {
  std::vector<int64_t> shape;
  const std::vector<float> latents = in.Floats("latents", 5, &shape);
  RETURN_IF_ERROR(in.status());
  ASSIGN_OR_RETURN(const std::unique_ptr<VideoDecoder> model, LoadDecoder(ops, request));
  const LatentGeometry& geometry = model->geometry();
  CheckShape(in, "latents", shape, geometry.channels);
  const int64_t frames = shape[2];
  const std::vector<int64_t> blocks = DecodedBlocks(in, frames);
  RETURN_IF_ERROR(in.status());

  const auto decoder = model->ForLatents(static_cast<int>(shape[3]), static_cast<int>(shape[4]));
  StreamMemory memory(ops, *decoder);
  FrameCollector collector(ops, geometry.Frames(frames), shape[3] * geometry.stride_h, shape[4] * geometry.stride_w);
  const auto add = [&](const VideoFrame& frame) { collector.Add(frame); };
  int64_t first = 0;
  for (int64_t length : blocks) {
    const std::vector<float> block = Cut(latents, geometry.channels, frames, shape[3] * shape[4], first, length);
    const std::unique_ptr<Buffer> on_device = ops.device().Allocate(block.size() * sizeof(float));
    ops.device().Upload(block.data(), on_device->data(), on_device->size());
    for (int64_t t = 0; t < length; ++t) {
      decoder->Decode(on_device->f32(), length, t, &memory.stream, memory.scratch->data(), add);
    }
    first += length;
  }
  while (decoder->Drain(&memory.stream, memory.scratch->data(), add)) {
  }
  return ModuleOutputs{{"frames", collector.Take()}};
}

absl::StatusOr<ModuleOutputs> RunVaeEncoder(Ops& ops, const ModuleRequest& request, ModuleInputs& in) {
  std::vector<int64_t> shape;
  const std::vector<float> video = in.Floats("frames", 5, &shape);
  RETURN_IF_ERROR(in.status());
  ASSIGN_OR_RETURN(const VideoVae vae, LoadVideoVae(request.model_dir + "/vae", {.encoder = true}, &ops));
  const LatentGeometry& geometry = vae.encoder->geometry();
  CheckShape(in, "frames", shape, 3);
  RETURN_IF_ERROR(in.status());
  ASSIGN_OR_RETURN(const auto encoder, vae.encoder->ForFrames(static_cast<int>(shape[3]), static_cast<int>(shape[4])));

  // diffusers encodes frames in groups of four after the first, for any temporal factor, and drops the remainder.
  const int64_t group = std::max(4, geometry.frames);
  const int64_t used = 1 + (shape[2] - 1) / group * group;
  const int64_t count = 1 + (used - 1) / geometry.frames;
  OutputTensor out{.shape = {1, geometry.channels, count, encoder->latent_height(), encoder->latent_width()},
                   .values = {}};
  out.values.resize(geometry.channels * count * out.shape[3] * out.shape[4]);
  StreamMemory memory(ops, *encoder);
  const std::unique_ptr<Buffer> latents = ops.device().Allocate(out.values.size() * sizeof(float));
  const int64_t pixels = shape[3] * shape[4];
  const std::unique_ptr<Buffer> planar = ops.device().Allocate(3 * pixels * sizeof(float));
  int64_t done = 0;
  for (int64_t f = 0; f < used; ++f) {
    const std::vector<float> frame = Cut(video, 3, shape[2], pixels, f, 1);
    ops.device().Upload(frame.data(), planar->data(), frame.size() * sizeof(float));
    done += encoder->Encode(planar->f32(), &memory.stream, memory.scratch->data(), count, done, latents->f32());
  }
  ops.device().Download(latents->data(), out.values.data(), out.values.size() * sizeof(float));
  return ModuleOutputs{{"latents", std::move(out)}};
}

}  // namespace longtake
