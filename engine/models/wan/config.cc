#include "engine/models/wan/config.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace longtake {
namespace {

// Far above any published model (Wan: 96, 4, 16), so that a mistyped number is refused before memory is allocated for
// it.
constexpr int64_t kMaxWidth = 8192;

// The statistics released with Wan 2.1. diffusers uses them if the file has none.
constexpr double kMean[] = {-0.7571, -0.7089, -0.9113, 0.1075,  -0.1745, 0.9653,  -0.1517, 1.5508,
                            0.4134,  -0.0715, 0.5517,  -0.3632, -0.1922, -0.9497, 0.2503,  -0.2921};
constexpr double kStd[] = {2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
                           3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160};

std::vector<float> Statistics(JsonConfig& json, const std::string& field, std::span<const double> fallback,
                              int64_t count, bool positive) {
  const std::vector<double> values = json.Numbers(field, {fallback.begin(), fallback.end()});
  if (static_cast<int64_t>(values.size()) != count) {
    json.Fail(field, absl::StrCat("has ", values.size(), " numbers, z_dim is ", count));
  }
  for (double v : values) {
    if (!std::isfinite(v) || (positive && v <= 0)) json.Fail(field, absl::StrCat("cannot hold ", v));
  }
  return {values.begin(), values.end()};
}

// Returns how many latent frames before its own a video frame depends on. Walks back through the decoder from the first
// video frame of a late latent frame; each convolution over time needs two more frames.
int64_t RebuildLatents(const WanConfig& c) {
  constexpr int64_t kLatentFrame = 1 << 20;  // far from the beginning of the stream
  constexpr int64_t kBack = 2;               // earlier frames that one convolution reads
  const int64_t stage_back = (c.res_blocks + 1) * 2 * kBack;
  int64_t frame = 1 + c.temporal_factor() * (kLatentFrame - 1);
  frame -= kBack;  // the last convolution
  for (int i = 0; i < c.stages(); ++i) {
    frame -= stage_back;
    // Where time is doubled, frames 2k - 1 and 2k are computed from frame k and the two frames before it.
    if (i + 1 < c.stages() && c.temporal_downsample[i]) frame = (frame + 1) / 2 - kBack;
  }
  constexpr int64_t kMiddleBack = 4 * kBack;
  frame -= kMiddleBack + kBack;  // and the first convolution
  return kLatentFrame - frame;
}

}  // namespace

int WanConfig::temporal_factor() const {
  return 1 << std::count(temporal_downsample.begin(), temporal_downsample.end(), true);
}

LatentGeometry WanConfig::geometry() const {
  const int spatial = spatial_factor(), temporal = temporal_factor();
  return {.channels = z_dim,
          .stride_h = spatial,
          .stride_w = spatial,
          .first_frames = 1,
          .frames = temporal,
          .rebuild_latents = RebuildLatents(*this)};
}

absl::StatusOr<WanConfig> ReadWanConfig(JsonConfig json) {
  WanConfig c;
  json.MustBe("_class_name", "AutoencoderKLWan");
  c.base_dim = json.Int("base_dim", 1, kMaxWidth, c.base_dim);
  c.decoder_base_dim = json.Int("decoder_base_dim", 1, kMaxWidth, c.base_dim);
  c.z_dim = json.Int("z_dim", 1, kMaxWidth, c.z_dim);
  c.res_blocks = static_cast<int>(json.Int("num_res_blocks", 1, 64, c.res_blocks));

  c.dim_mult = json.Ints("dim_mult", c.dim_mult);
  if (c.dim_mult.empty() || c.dim_mult.size() > kMaxWanStages) {
    json.Fail("dim_mult", absl::StrCat("has ", c.dim_mult.size(), " stages, not 1 to ", kMaxWanStages));
    c.dim_mult = {1};
  }
  for (size_t i = 0; i < c.dim_mult.size(); ++i) {
    // A decoder stage outputs half of its width, so a width of 1 would leave no channel.
    const int64_t narrowest = i == 0 ? 1 : 2;
    if (c.dim_mult[i] < 1 || c.dim_mult[i] > kMaxWidth || c.dim_mult[i] * c.decoder_base_dim < narrowest) {
      json.Fail("dim_mult", absl::StrCat("cannot hold ", c.dim_mult[i]));
    }
  }
  c.temporal_downsample = json.Bools("temperal_downsample", c.temporal_downsample);
  if (c.temporal_downsample.size() + 1 != c.dim_mult.size()) {
    json.Fail("temperal_downsample", absl::StrCat("has ", c.temporal_downsample.size(), " entries for ",
                                                  c.dim_mult.size(), " stages: must be one less"));
  }
  c.mean = Statistics(json, "latents_mean", kMean, c.z_dim, /*positive=*/false);
  c.std = Statistics(json, "latents_std", kStd, c.z_dim, /*positive=*/true);

  c.patch = static_cast<int>(json.Int("patch_size", 1, 16, 1));
  for (const char* field : {"in_channels", "out_channels"}) {
    if (const int64_t channels = json.Int(field, 1, kMaxWidth, 3); channels != c.pixel_channels()) {
      json.Fail(field, absl::StrCat("is ", channels, ", must be 3 * patch_size^2 = ", c.pixel_channels()));
    }
  }
  json.MustBe("attn_scales", nlohmann::json::array());
  json.MustBe("is_residual", false);
  // diffusers' pipeline reads the scale factors to choose sizes. The model's own factors follow from its stages.
  json.Ignore({"_diffusers_version", "_name_or_path", "dropout", "scale_factor_temporal", "scale_factor_spatial"});
  RETURN_IF_ERROR(json.Finish());
  return c;
}

}  // namespace longtake
