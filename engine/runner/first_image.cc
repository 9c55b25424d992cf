#include "engine/runner/first_image.h"

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/models/video/load.h"

namespace longtake {

absl::StatusOr<std::vector<float>> EncodeFirstImage(Ops& ops, const ModuleRequest& request, ModuleInputs& in,
                                                    int64_t patch_t, int64_t channels, int64_t height, int64_t width) {
  if (!in.Has("first_image")) return std::vector<float>();
  if (patch_t != 1) in.Fail("first_image", "needs a temporal patch of 1");
  std::vector<int64_t> shape;
  const std::vector<float> pixels = in.Floats("first_image", 5, &shape);
  RETURN_IF_ERROR(in.status());
  ASSIGN_OR_RETURN(const VideoVae vae, LoadVideoVae(request.model_dir + "/vae", {.encoder = true}, &ops));
  const LatentGeometry& latents = vae.encoder->geometry();
  const std::vector<int64_t> wanted = {1, 3, 1, height * latents.stride_h, width * latents.stride_w};
  if (shape != wanted || latents.channels != channels) {
    in.Fail("first_image", absl::StrCat("must be [1,3,1,", wanted[3], ",", wanted[4], "], of ", channels, " channels"));
  }
  RETURN_IF_ERROR(in.status());
  ASSIGN_OR_RETURN(const auto encoder,
                   vae.encoder->ForFrames(static_cast<int>(wanted[3]), static_cast<int>(wanted[4])));
  const int64_t count = channels * height * width;
  const std::unique_ptr<Buffer> planar = ops.device().Allocate(pixels.size() * sizeof(float));
  const std::unique_ptr<Buffer> scratch = ops.device().Allocate(encoder->scratch_bytes());
  const std::unique_ptr<Buffer> latent = ops.device().Allocate(count * sizeof(float));
  ops.device().Upload(pixels.data(), planar->data(), planar->size());
  VideoStream stream;
  encoder->Encode(planar->f32(), &stream, scratch->data(), 1, 0, latent->f32());
  std::vector<float> out(count);
  ops.device().Download(latent->data(), out.data(), latent->size());
  return out;
}

}  // namespace longtake
