// The Wan VAE as a stream: any cut, any neighbour and any dirty memory give the same bytes, inside the planned memory.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/models/video/load.h"
#include "engine/models/wan/config.h"
#include "engine/reference/reference_ops.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/vae_memory.h"
#include "tests/engine/wan_folder.h"

namespace longtake {
namespace {

using ::testing::HasSubstr;

constexpr int kHeight = 2, kWidth = 3;  // latent
constexpr int64_t kChannels = 4;
constexpr int64_t kLatentFrame = kChannels * kHeight * kWidth;

struct Setting {
  int patch;
  std::string backend;
  std::string dtype = "float32";
};

class WanVaeTest : public ::testing::TestWithParam<Setting> {
 protected:
  void SetUp() override {
    auto ops = MakeBackend({.backend = GetParam().backend, .dtype = GetParam().dtype, .threads = 2});
    ASSERT_TRUE(ops.ok()) << ops.status();
    ops_ = *std::move(ops);
    auto vae = LoadVideoVae(folder_.Write(), {.decoder = true, .encoder = true}, ops_.get());
    ASSERT_TRUE(vae.ok()) << vae.status();
    vae_ = *std::move(vae);
    geometry_ = vae_.decoder->geometry();
    decoder_ = vae_.decoder->ForLatents(kHeight, kWidth);
  }

  // Decodes the frame and appends the video frames' values.
  void Decode(const std::vector<float>& latents, int64_t t, VideoStream* stream, uint8_t* scratch,
              std::vector<float>* frames) {
    const int64_t count = static_cast<int64_t>(latents.size()) / kLatentFrame;
    decoder_->Decode(latents.data(), count, t, stream, scratch, [&](const VideoFrame& frame) {
      EXPECT_EQ(frame.height(), kHeight * geometry_.stride_h);
      EXPECT_EQ(frame.width(), kWidth * geometry_.stride_w);
      const float* values = static_cast<const float*>(frame.pixels.data);
      frames->insert(frames->end(), values, values + frame.pixels.rows * frame.pixels.cols);
    });
  }

  std::vector<float> Whole(const std::vector<float>& latents) {
    Guarded caches(decoder_->cache_bytes()), scratch(decoder_->scratch_bytes());
    VideoStream stream{.caches = caches.data()};
    std::vector<float> frames;
    const int64_t count = static_cast<int64_t>(latents.size()) / kLatentFrame;
    for (int64_t t = 0; t < count; ++t) Decode(latents, t, &stream, scratch.data(), &frames);
    EXPECT_TRUE(caches.Intact());
    EXPECT_TRUE(scratch.Intact());
    EXPECT_EQ(stream.frames, count);
    return frames;
  }

  int64_t FrameValues() const { return int64_t{3} * kHeight * geometry_.stride_h * kWidth * geometry_.stride_w; }

  const int patch_ = GetParam().patch;
  WanFolder folder_{patch_};
  std::unique_ptr<Ops> ops_;
  VideoVae vae_;
  LatentGeometry geometry_;
  std::unique_ptr<SizedVideoDecoder> decoder_;
};

// "auto" is bfloat16 where the processor has it.
INSTANTIATE_TEST_SUITE_P(Settings, WanVaeTest,
                         ::testing::Values(Setting{1, "reference"}, Setting{2, "reference"}, Setting{1, "cpu"},
                                           Setting{2, "cpu"}, Setting{1, "cpu", "auto"}, Setting{2, "cpu", "auto"}),
                         [](const auto& test) {
                           return test.param.backend + "_" + test.param.dtype + "_" + std::to_string(test.param.patch);
                         });

TEST_P(WanVaeTest, GivesTheSameBytesInAnyCutAndCompany) {
  constexpr int64_t kFrames = 5, kPlane = kHeight * kWidth;
  const std::vector<float> latents = Normals(kChannels * kFrames * kPlane, 1);
  const std::vector<float> others = Normals(kChannels * kFrames * kPlane, 2);
  const std::vector<float> expected = Whole(latents), expected_others = Whole(others);
  ASSERT_EQ(static_cast<int64_t>(expected.size()), geometry_.Frames(kFrames) * FrameValues());
  ASSERT_TRUE(std::all_of(expected.begin(), expected.end(), [](float v) { return std::isfinite(v); }));
  ASSERT_NE(expected, expected_others);

  for (int64_t cut = 1; cut < kFrames; ++cut) {
    SCOPED_TRACE(cut);
    // Two sessions in one scratch; the first one's caches move elsewhere at the cut, as when it is parked.
    const size_t cache_bytes = decoder_->cache_bytes();
    Guarded home(cache_bytes), away(cache_bytes), other(cache_bytes), scratch(decoder_->scratch_bytes());
    VideoStream stream{.caches = home.data()}, other_stream{.caches = other.data()};
    std::vector<float> frames, other_frames;
    int64_t first = 0;
    for (const int64_t length : {cut, kFrames - cut}) {
      std::vector<float> block;
      for (int64_t c = 0; c < kChannels; ++c) {
        const auto begin = latents.begin() + (c * kFrames + first) * kPlane;
        block.insert(block.end(), begin, begin + length * kPlane);
      }
      for (int64_t t = 0; t < length; ++t) {
        Decode(block, t, &stream, scratch.data(), &frames);
        Decode(others, first + t, &other_stream, scratch.data(), &other_frames);
      }
      first += length;
      std::memcpy(away.data(), home.data(), cache_bytes);
      std::memset(home.data(), Guarded::kFill, cache_bytes);
      stream.caches = away.data();
    }
    EXPECT_EQ(frames, expected);
    EXPECT_EQ(other_frames, expected_others);
  }
}

// A number that is none marks what it reaches, whatever the weights: later video frames, as many as the geometry says,
// and no earlier one.
TEST_P(WanVaeTest, VideoFramesDependOnAsManyLatentsAsTheGeometrySays) {
  constexpr int64_t kMarked = 1;
  const int64_t count = kMarked + geometry_.rebuild_latents + 2;
  std::vector<float> latents = Normals(count * kLatentFrame, 1);
  const std::vector<float> expected = Whole(latents);
  latents[kMarked * kHeight * kWidth] = NAN;  // of the first channel
  const std::vector<float> marked = Whole(latents);
  for (int64_t latent = 0; latent < count; ++latent) {
    const int64_t begin = geometry_.Emitted(latent) * FrameValues(),
                  end = geometry_.Emitted(latent + 1) * FrameValues();
    const bool reached = latent >= kMarked && latent <= kMarked + geometry_.rebuild_latents;
    EXPECT_EQ(std::any_of(marked.begin() + begin, marked.begin() + end, [](float v) { return std::isnan(v); }), reached)
        << "latent frame " << latent;
    if (!reached) {
      EXPECT_TRUE(std::equal(marked.begin() + begin, marked.begin() + end, expected.begin() + begin)) << latent;
    }
  }
}

TEST_P(WanVaeTest, RebuiltCachesContinueTheStream) {
  const int64_t count = geometry_.rebuild_latents + 4;
  const std::vector<float> latents = Normals(count * kLatentFrame, 1);
  const std::vector<float> expected = Whole(latents);
  // Where the whole stream is decoded again, and where only its end is.
  for (const int64_t position : {int64_t{1}, geometry_.rebuild_latents, geometry_.rebuild_latents + 2}) {
    SCOPED_TRACE(position);
    Guarded caches(decoder_->cache_bytes()), scratch(decoder_->scratch_bytes());
    VideoStream stream = VideoStream::Rebuild(geometry_, position, caches.data());
    std::vector<float> frames;
    while (stream.frames < position) Decode(latents, stream.frames, &stream, scratch.data(), &frames);
    frames.clear();
    while (stream.frames < count) Decode(latents, stream.frames, &stream, scratch.data(), &frames);
    const auto begin = expected.begin() + geometry_.Emitted(position) * FrameValues();
    EXPECT_TRUE(std::equal(frames.begin(), frames.end(), begin, expected.end()));
  }
}

// Each convolution over time reaches two frames back. Wan 2.1's decoder has 12 at the latents' rate, which are 24
// latent frames, 7 at twice that rate (7 latent frames) and 13 at four times it (6.5).
TEST(WanGeometry, OfWan21) {
  const LatentGeometry geometry = WanConfig().geometry();
  EXPECT_EQ(geometry.channels, 16);
  EXPECT_EQ(geometry.stride_h, 8);
  EXPECT_EQ(geometry.stride_w, 8);
  EXPECT_EQ(geometry.Frames(21), 81);
  EXPECT_EQ(geometry.Emitted(21), 81);
  EXPECT_EQ(geometry.rebuild_latents, 38);
}

TEST_P(WanVaeTest, UsesAllOfThePlannedMemoryAndNoMore) {
  constexpr int64_t kFrames = 4;
  const std::vector<float> latents = Normals(kFrames * kLatentFrame, 1);
  Guarded caches(decoder_->cache_bytes()), scratch(decoder_->scratch_bytes());
  VideoStream stream{.caches = caches.data()};
  std::vector<float> frames;
  for (int64_t t = 0; t < kFrames; ++t) Decode(latents, t, &stream, scratch.data(), &frames);
  EXPECT_TRUE(caches.Intact());
  EXPECT_TRUE(scratch.Intact());
  EXPECT_EQ(caches.UntouchedLines(), 0u);
  EXPECT_EQ(scratch.UntouchedLines(), 0u);
}

TEST_P(WanVaeTest, EncodesAsAStream) {
  const int height = 4 * kHeight * patch_, width = 4 * kWidth * patch_;
  const auto sized = vae_.encoder->ForFrames(height, width);
  ASSERT_TRUE(sized.ok()) << sized.status();
  const SizedVideoEncoder& encoder = **sized;
  EXPECT_EQ(encoder.latent_height(), kHeight);
  EXPECT_EQ(encoder.latent_width(), kWidth);
  constexpr int64_t kFrames = 9, kLatents = 3, kPlane = kHeight * kWidth;
  const int64_t frame = int64_t{3} * height * width;
  const std::vector<float> video = Normals(kFrames * frame, 3);
  Guarded caches(encoder.cache_bytes()), scratch(encoder.scratch_bytes());
  VideoStream stream{.caches = caches.data()};
  std::vector<float> latents(kChannels * kLatents * kPlane);
  std::vector<bool> completed;
  int64_t t = 0;
  for (int64_t f = 0; f < kFrames; ++f) {
    completed.push_back(encoder.Encode(video.data() + f * frame, &stream, scratch.data(), kLatents, t, latents.data()));
    t += completed.back();
  }
  EXPECT_THAT(completed, ::testing::ElementsAre(true, false, false, false, true, false, false, false, true));
  EXPECT_TRUE(caches.Intact());
  EXPECT_TRUE(scratch.Intact());
  EXPECT_TRUE(std::all_of(latents.begin(), latents.end(), [](float v) { return std::isfinite(v); }));

  // The first frame by itself, without caches, is the stream's first latent.
  VideoStream image;
  std::vector<float> first(kChannels * kPlane);
  ASSERT_TRUE(encoder.Encode(video.data(), &image, scratch.data(), 1, 0, first.data()));
  for (int64_t c = 0; c < kChannels; ++c) {
    EXPECT_TRUE(std::equal(first.begin() + c * kPlane, first.begin() + (c + 1) * kPlane,
                           latents.begin() + c * kLatents * kPlane));
  }
}

TEST_P(WanVaeTest, RefusesSizesThatNoLatentHas) {
  EXPECT_THAT(std::string(vae_.encoder->ForFrames(3 * patch_, 8 * patch_).status().message()), HasSubstr("smaller"));
  if (patch_ == 2) {
    EXPECT_THAT(std::string(vae_.encoder->ForFrames(16, 17).status().message()), HasSubstr("patch_size"));
  }
}

TEST(WanVaeFolder, LoadsOnlyWhatIsWanted) {
  const WanFolder folder;
  const auto ops = MakeReferenceOps();
  const auto vae = LoadVideoVae(folder.Write(), {.decoder = true}, ops.get());
  ASSERT_TRUE(vae.ok()) << vae.status();
  EXPECT_NE(vae->decoder, nullptr);
  EXPECT_EQ(vae->encoder, nullptr);
}

struct Refusal {
  std::string field;
  nlohmann::json value;
};

TEST(WanVaeFolder, RefusesFieldsByName) {
  const auto ops = MakeReferenceOps();
  const std::vector<Refusal> refusals = {{"is_residual", true},
                                         {"attn_scales", {0.5}},
                                         {"_class_name", "AutoencoderKLLTXVideo"},
                                         {"_class_name", nullptr},
                                         {"_class_name", 3},
                                         {"base_dim", 0},
                                         {"base_dim", "4"},
                                         {"base_dim", 1 << 20},
                                         {"decoder_base_dim", -1},
                                         {"z_dim", 0},
                                         {"num_res_blocks", 0},
                                         {"dim_mult", nlohmann::json::array()},
                                         {"dim_mult", {1, 0, 2}},
                                         {"dim_mult", {1, 2.5, 2}},
                                         {"dim_mult", std::vector<int>(9, 1)},
                                         {"temperal_downsample", {true}},
                                         {"temperal_downsample", {1, 2}},
                                         {"latents_mean", {0.5}},
                                         {"latents_std", {1.0, 1.0, 0.0, 1.0}},
                                         {"latents_std", {1.0, 1.0}},
                                         {"in_channels", 12},
                                         {"out_channels", 4},
                                         {"patch_size", 0},
                                         {"shift_factor", 0.1}};
  for (const Refusal& r : refusals) {
    WanFolder folder;
    folder.config[r.field] = r.value;
    const auto vae = LoadVideoVae(folder.Write(), {.decoder = true}, ops.get());
    ASSERT_FALSE(vae.ok()) << r.field << " " << r.value;
    EXPECT_THAT(std::string(vae.status().message()), HasSubstr("config.json")) << r.value;
    EXPECT_THAT(std::string(vae.status().message()), HasSubstr(r.field)) << r.value;
  }
}

TEST(WanVaeFolder, AcceptsFieldsWithoutEffectAndNulls) {
  const auto ops = MakeReferenceOps();
  WanFolder folder;
  folder.config["dropout"] = 0.3;
  folder.config["scale_factor_spatial"] = 8;
  folder.config["_name_or_path"] = "x";
  folder.config["patch_size"] = nullptr;
  const auto vae = LoadVideoVae(folder.Write(), {.decoder = true, .encoder = true}, ops.get());
  EXPECT_TRUE(vae.ok()) << vae.status();
}

TEST(WanVaeFolder, NamesTheTensorAtFault) {
  const auto ops = MakeReferenceOps();
  // Of the half that is loaded and of the half that is not.
  for (const std::string name :
       {"decoder.up_blocks.1.resnets.0.conv_shortcut.weight", "decoder.norm_out.gamma",
        "decoder.up_blocks.0.upsamplers.0.time_conv.bias", "post_quant_conv.bias",
        "encoder.mid_block.attentions.0.to_qkv.weight", "encoder.down_blocks.3.time_conv.weight",
        "encoder.mid_block.attentions.0.norm.gamma", "quant_conv.weight"}) {
    for (const bool decoder : {true, false}) {
      const VaeParts parts{.decoder = decoder, .encoder = !decoder};
      WanFolder missing;
      missing.tensors.erase(name);
      EXPECT_THAT(std::string(LoadVideoVae(missing.Write(), parts, ops.get()).status().message()), HasSubstr(name));
      WanFolder wrong;
      ++wrong.tensors[name][0];
      EXPECT_THAT(std::string(LoadVideoVae(wrong.Write(), parts, ops.get()).status().message()), HasSubstr(name));
      WanFolder superfluous;
      superfluous.tensors[name + "_2"] = {1};
      EXPECT_THAT(std::string(LoadVideoVae(superfluous.Write(), parts, ops.get()).status().message()),
                  HasSubstr(name + "_2"));
    }
  }
}

}  // namespace
}  // namespace longtake
