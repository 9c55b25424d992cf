#include "engine/models/ltx2/config.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/models/ltx2/frame_counts.h"

namespace longtake {
namespace {

constexpr char kCausalClass[] = "AutoencoderKLCausalLTX2Video", kClass[] = "AutoencoderKLLTX2Video";
// Far above any published model (2048, 128, 4), so that a mistyped number is refused before memory is allocated for it.
constexpr int64_t kMaxWidth = 16384, kMaxPatch = 16;

using Names = std::vector<std::string>;

std::optional<ShuffleFactor> FactorNamed(const std::string& name) {
  if (name == "spatial") return ShuffleFactor{1, 2, 2};
  if (name == "temporal") return ShuffleFactor{2, 1, 1};
  if (name == "spatiotemporal") return ShuffleFactor{2, 2, 2};
  return std::nullopt;
}

// Reads a config's lists, which must agree in length. A list that does not fit is an error, and its fallback is used.
class Lists {
 public:
  explicit Lists(JsonConfig& json) : json_(json) {}

  std::vector<int64_t> Ints(const std::string& field, std::vector<int64_t> fallback, int64_t most) {
    std::vector<int64_t> values = json_.Ints(field, std::move(fallback));
    for (const int64_t v : values) {
      if (v < 1 || v > most) return Wrong<int64_t>(field, absl::StrCat("cannot hold ", v));
    }
    return values;
  }
  // Returns no list where it is not as long as it must be.
  template <typename T>
  std::vector<T> Sized(const std::string& field, std::vector<T> values, size_t count) {
    if (values.size() == count) return values;
    return Wrong<T>(field, absl::StrCat("has ", values.size(), " entries, must have ", count));
  }
  void AllBools(const std::string& field, bool value, size_t count) {
    const std::vector<bool> values = json_.Bools(field, std::vector<bool>(count, value));
    if (values != std::vector<bool>(count, value)) {
      json_.Fail(field,
                 absl::StrCat("must be ", count, " times ", value ? "true" : "false", "; others are not supported"));
    }
  }
  std::vector<ShuffleFactor> Factors(const std::string& field, const Names& fallback, size_t count) {
    std::vector<ShuffleFactor> factors;
    for (const std::string& name : Sized(field, json_.Strings(field, fallback), count)) {
      const std::optional<ShuffleFactor> factor = FactorNamed(name);
      if (!factor) {
        return Wrong<ShuffleFactor>(
            field, absl::StrCat("\"", name.substr(0, 80), "\" is none of spatial, temporal, spatiotemporal"));
      }
      factors.push_back(*factor);
    }
    return factors;
  }
  Border BorderOf(const std::string& field, const std::string& fallback) {
    const std::string mode = json_.String(field, fallback);
    if (mode != "zeros" && mode != "reflect") json_.Fail(field, "must be \"zeros\" or \"reflect\"");
    return mode == "reflect" ? Border::kReflect : Border::kZeros;
  }
  bool ok() const { return ok_; }

 private:
  template <typename T>
  std::vector<T> Wrong(const std::string& field, const std::string& why) {
    json_.Fail(field, why);
    ok_ = false;
    return {};
  }
  JsonConfig& json_;
  bool ok_ = true;
};

void ReadEncoder(JsonConfig& json, Lists& lists, Ltx2Config& c) {
  const std::string kWidths = "block_out_channels";
  const std::vector<int64_t> widths = lists.Ints(kWidths, {256, 512, 1024, 2048}, kMaxWidth);
  const size_t count = widths.size();
  if (count < 1 || count > kMaxLtx2Stages - 1) {
    json.Fail(kWidths, absl::StrCat("has ", count, " entries, not 1 to ", kMaxLtx2Stages - 1));
    return;
  }
  const auto blocks =
      lists.Sized("layers_per_block", lists.Ints("layers_per_block", {4, 6, 6, 2, 2}, kMaxLtx2Blocks), count + 1);
  const auto factors =
      lists.Factors("downsample_type", {"spatial", "temporal", "spatiotemporal", "spatiotemporal"}, count);
  lists.AllBools("spatio_temporal_scaling", true, count);
  const Names types = json.Strings("down_block_types", Names(count, "LTX2VideoDownBlock3D"));
  if (types != Names(count, "LTX2VideoDownBlock3D")) {
    json.Fail("down_block_types", absl::StrCat("must be ", count, " times LTX2VideoDownBlock3D"));
  }
  c.encoder.border = lists.BorderOf("encoder_spatial_padding_mode", "zeros");
  if (!lists.ok()) return;
  c.encoder.blocks.assign(blocks.begin(), blocks.end());
  c.encoder.widths = {c.latent_channels};
  for (size_t i = 0; i < count; ++i) {
    const int64_t volume = factors[i].volume();
    if (widths[i] % volume != 0 || c.encoder.widths[i] * volume % widths[i] != 0) {
      json.Fail(kWidths,
                absl::StrCat("cannot hold ", widths[i], " after ", c.encoder.widths[i], ": must be a multiple of ",
                             volume, " that divides ", c.encoder.widths[i] * volume));
      return;
    }
    c.encoder.steps.push_back({.factor = factors[i], .conv_outputs = widths[i] / volume});
    c.encoder.widths.push_back(widths[i]);
  }
}

// All lists of the decoder but `upsample_type` are stored from the last stage to the first.
void ReadDecoder(JsonConfig& json, Lists& lists, bool causal_class, Ltx2Config& c) {
  const std::string kWidths = "decoder_block_out_channels", kFactor = "upsample_factor";
  std::vector<int64_t> widths = lists.Ints(kWidths, {256, 512, 1024}, kMaxWidth);
  const size_t count = widths.size();
  if (count < 1 || count > kMaxLtx2Stages - 1) {
    json.Fail(kWidths, absl::StrCat("has ", count, " entries, not 1 to ", kMaxLtx2Stages - 1));
    return;
  }
  auto blocks = lists.Sized("decoder_layers_per_block",
                            lists.Ints("decoder_layers_per_block", {5, 5, 5, 5}, kMaxLtx2Blocks), count + 1);
  auto divisors = lists.Sized(kFactor, lists.Ints(kFactor, {2, 2, 2}, 8), count);
  auto residuals = lists.Sized("upsample_residual", json.Bools("upsample_residual", {true, true, true}), count);
  const std::string kTypes = causal_class ? "decoder_upsample_type" : "upsample_type";
  auto factors = lists.Factors(kTypes, Names(count, "spatiotemporal"), count);
  lists.AllBools("decoder_spatio_temporal_scaling", true, count);
  lists.AllBools("decoder_inject_noise", false, count + 1);
  c.decoder.border = lists.BorderOf("decoder_spatial_padding_mode", "reflect");
  if (!lists.ok()) return;
  std::ranges::reverse(widths);
  std::ranges::reverse(blocks);
  std::ranges::reverse(divisors);
  std::reverse(residuals.begin(), residuals.end());
  if (causal_class) std::ranges::reverse(factors);

  c.decoder.blocks.assign(blocks.begin(), blocks.end());
  c.decoder.widths = {widths[0]};
  for (size_t i = 0; i < count; ++i) {
    const int64_t width = c.decoder.widths[i], volume = factors[i].volume();
    // Where they differ the class has a residual block `conv_in` first, which no published model has.
    if (width != widths[i]) {
      json.Fail(kWidths, absl::StrCat("cannot hold ", widths[i], " where ", kFactor, " leaves ", width,
                                      " channels: a conv_in that changes the width is not supported"));
      return;
    }
    if (width % divisors[i] != 0 || volume % divisors[i] != 0 || (residuals[i] && width % volume != 0)) {
      json.Fail(kFactor, absl::StrCat("cannot hold ", divisors[i], " for ", width, " channels and ", volume,
                                      " positions: must divide both",
                                      residuals[i] ? ", and the channels must be a multiple of the positions" : ""));
      return;
    }
    c.decoder.steps.push_back(
        {.factor = factors[i], .conv_outputs = width * volume / divisors[i], .residual = residuals[i]});
    c.decoder.widths.push_back(width / divisors[i]);
  }
}

// The decoder must undo what the encoder does to sizes, and both must do what the file says.
void CheckFactors(JsonConfig& json, const Ltx2Config& c) {
  const auto check = [&](const std::string& field, int said, int encoder, int decoder, const char* types) {
    if (decoder != encoder) {
      json.Fail(types, absl::StrCat("makes ", decoder, " of one, but downsample_type makes one of ", encoder));
    } else if (said != encoder) {
      json.Fail(field, absl::StrCat("is ", said, ", but downsample_type makes it ", encoder));
    }
  };
  const int spatial = c.patch * c.encoder.spatial_factor(), temporal = c.encoder.temporal_factor();
  const char* types = c.causal_decoder ? "decoder_upsample_type" : "upsample_type";
  check("spatial_compression_ratio", static_cast<int>(json.Int("spatial_compression_ratio", 1, 1 << 16, spatial)),
        spatial, c.patch * c.decoder.spatial_factor(), types);
  check("temporal_compression_ratio", static_cast<int>(json.Int("temporal_compression_ratio", 1, 1 << 16, temporal)),
        temporal, c.decoder.temporal_factor(), types);
}

}  // namespace

int Ltx2Half::spatial_factor() const {
  int factor = 1;
  for (const Step& s : steps) factor *= s.factor.h;
  return factor;
}

int Ltx2Half::temporal_factor() const {
  int factor = 1;
  for (const Step& s : steps) factor *= s.factor.t;
  return factor;
}

LatentGeometry Ltx2Config::geometry() const {
  const int spatial = patch * decoder.spatial_factor();
  const FrameCounts counts(decoder, causal_decoder);
  return {.channels = latent_channels,
          .stride_h = spatial,
          .stride_w = spatial,
          .first_frames = 1,
          .frames = decoder.temporal_factor(),
          .delay_frames = counts.DelayFrames(),
          .rebuild_latents = counts.RebuildLatents()};
}

absl::StatusOr<Ltx2Config> ReadLtx2Config(JsonConfig json) {
  Ltx2Config c;
  const std::string name = json.String("_class_name", "");
  const bool causal_class = name == kCausalClass;
  if (!causal_class) json.MustBe("_class_name", kClass);
  c.latent_channels = json.Int("latent_channels", 1, kMaxWidth, c.latent_channels);
  c.patch = static_cast<int>(json.Int("patch_size", 1, kMaxPatch, c.patch));
  for (const char* field : {"in_channels", "out_channels"}) json.MustBe(field, 3);
  json.MustBe("patch_size_t", 1);
  json.MustBe("timestep_conditioning", false);
  json.MustBe("scaling_factor", 1.0);
  json.MustBe("encoder_causal", true);
  // The weights of the one class look ahead. Run causally they give a picture of some kind, which is wrong.
  c.causal_decoder = json.Bool("decoder_causal", true);
  if (c.causal_decoder && !causal_class) {
    json.Fail("decoder_causal", absl::StrCat("must be false: ", kClass,
                                             "'s weights look ahead; a causal decoder is of class ", kCausalClass));
  } else if (!c.causal_decoder && causal_class) {
    json.Fail("decoder_causal", absl::StrCat("must be true for ", kCausalClass));
  }
  Lists lists(json);
  ReadEncoder(json, lists, c);
  ReadDecoder(json, lists, causal_class, c);
  RETURN_IF_ERROR(json.FirstError());
  CheckFactors(json, c);
  // The norm's epsilon is that of residual blocks which change the width, and there are none.
  json.Ignore({"_diffusers_version", "_name_or_path", "resnet_norm_eps"});
  RETURN_IF_ERROR(json.Finish());
  return c;
}

}  // namespace longtake
