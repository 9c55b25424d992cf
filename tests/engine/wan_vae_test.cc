// The Wan VAE as a stream: any cut, any neighbour and any dirty memory give the same bytes, inside the planned memory.
#include "engine/models/wan/vae.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/reference/reference_ops.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/wan_folder.h"

namespace longtake {
namespace {

using ::testing::HasSubstr;

constexpr int kHeight = 2, kWidth = 3;  // latent
constexpr int64_t kChannels = 4;

std::vector<float> Normals(int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(n);
  for (float& v : values) v = normal(random);
  return values;
}

// Memory in which every byte is set, with as much behind it to see whether anybody writes there.
class Guarded {
 public:
  explicit Guarded(size_t bytes) : bytes_(bytes), memory_(2 * bytes + 128, kFill) {}
  uint8_t* data() { return memory_.data() + (64 - reinterpret_cast<uintptr_t>(memory_.data()) % 64); }
  bool Intact() {
    return std::all_of(data() + bytes_, memory_.data() + memory_.size(), [](uint8_t b) { return b == kFill; });
  }
  size_t bytes() const { return bytes_; }
  // Bytes that still hold the filling.
  size_t Untouched() { return std::count(data(), data() + bytes_, kFill); }

  static constexpr uint8_t kFill = 0xff;  // a float of it is not a number, and so would be all that it touches

 private:
  size_t bytes_;
  std::vector<uint8_t> memory_;
};

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
    auto vae = LoadWanVae(folder_.Write(), {.decoder = true, .encoder = true}, ops_.get());
    ASSERT_TRUE(vae.ok()) << vae.status();
    vae_ = *std::move(vae);
    plan_ = vae_.decoder->Plan(kHeight, kWidth);
  }

  // Decodes the frame and appends the video frames' values.
  void Decode(const std::vector<float>& latents, int64_t t, WanStream* stream, uint8_t* scratch,
              std::vector<float>* frames) {
    const int64_t count = static_cast<int64_t>(latents.size()) / (kChannels * kHeight * kWidth);
    vae_.decoder->Decode(plan_, latents.data(), count, t, stream, scratch, [&](ConstMat frame) {
      const float* values = static_cast<const float*>(frame.data);
      frames->insert(frames->end(), values, values + frame.rows * frame.cols);
    });
  }

  std::vector<float> Whole(const std::vector<float>& latents) {
    Guarded caches(plan_.cache_bytes), scratch(plan_.scratch_bytes);
    WanStream stream{.caches = caches.data()};
    std::vector<float> frames;
    const int64_t count = static_cast<int64_t>(latents.size()) / (kChannels * kHeight * kWidth);
    for (int64_t t = 0; t < count; ++t) Decode(latents, t, &stream, scratch.data(), &frames);
    EXPECT_TRUE(caches.Intact());
    EXPECT_TRUE(scratch.Intact());
    EXPECT_EQ(stream.frames, count);
    return frames;
  }

  const int patch_ = GetParam().patch;
  WanFolder folder_{patch_};
  std::unique_ptr<Ops> ops_;
  WanVae vae_;
  WanPlan plan_;
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
  const int64_t pixels = 16 * kPlane * patch_ * patch_;
  ASSERT_EQ(static_cast<int64_t>(expected.size()), vae_.config.Frames(kFrames) * pixels * 3);
  ASSERT_TRUE(std::all_of(expected.begin(), expected.end(), [](float v) { return std::isfinite(v); }));
  ASSERT_NE(expected, expected_others);

  for (int64_t cut = 1; cut < kFrames; ++cut) {
    SCOPED_TRACE(cut);
    // Two sessions in one scratch; the first one's caches move elsewhere at the cut, as when it is parked.
    Guarded home(plan_.cache_bytes), away(plan_.cache_bytes), other(plan_.cache_bytes), scratch(plan_.scratch_bytes);
    WanStream stream{.caches = home.data()}, other_stream{.caches = other.data()};
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
      std::memcpy(away.data(), home.data(), plan_.cache_bytes);
      std::memset(home.data(), Guarded::kFill, plan_.cache_bytes);
      stream.caches = away.data();
    }
    EXPECT_EQ(frames, expected);
    EXPECT_EQ(other_frames, expected_others);
  }
}

TEST_P(WanVaeTest, LaterFramesDependOnEarlierOnesOnly) {
  constexpr int64_t kFrames = 3, kPlane = kHeight * kWidth;
  std::vector<float> latents = Normals(kChannels * kFrames * kPlane, 1);
  const std::vector<float> before = Whole(latents);
  latents[(0 * kFrames + 1) * kPlane] += 1.f;  // in the second latent frame
  const std::vector<float> after = Whole(latents);
  const size_t frame = before.size() / vae_.config.Frames(kFrames);
  EXPECT_TRUE(std::equal(before.begin(), before.begin() + frame, after.begin()));
  for (size_t f = 1; f < before.size() / frame; ++f) {
    EXPECT_FALSE(std::equal(before.begin() + f * frame, before.begin() + (f + 1) * frame, after.begin() + f * frame))
        << f;
  }
}

// Two frames before every convolution, written out by hand for the 2x3 latent.
TEST_P(WanVaeTest, PlansWhatTheDecoderUses) {
  const size_t element = SizeOf(ops_->activation_type());
  const auto ring = [&](size_t pixels, size_t channels) { return 2 * Aligned(pixels * channels * element); };
  const size_t s0 = 6, s1 = 24, s2 = 96;
  EXPECT_EQ(plan_.cache_bytes, ring(s0, 4) + 9 * ring(s0, 12)                       // in, middle, stage, doubling
                                   + ring(s1, 6) + 3 * ring(s1, 12) + ring(s1, 12)  // stage, doubling
                                   + 4 * ring(s2, 6) + ring(s2, 6));                // stage, out
  const std::vector<float> latents = Normals(kChannels * 4 * kHeight * kWidth, 1);
  Guarded caches(plan_.cache_bytes), scratch(plan_.scratch_bytes);
  WanStream stream{.caches = caches.data()};
  std::vector<float> frames;
  for (int64_t t = 0; t < 4; ++t) Decode(latents, t, &stream, scratch.data(), &frames);
  EXPECT_TRUE(caches.Intact());
  EXPECT_TRUE(scratch.Intact());
  // Of the caches nothing but the rests of 64-byte lines is left over; a byte of a value may be 0xff by chance (1 in
  // 256).
  EXPECT_LT(caches.Untouched(), 2 * 64 * plan_.rings.size() / 2 + plan_.cache_bytes / 100);
  EXPECT_LT(scratch.Untouched(), plan_.scratch_bytes / 10);
}

TEST_P(WanVaeTest, EncodesAsAStream) {
  const int height = 4 * kHeight * patch_, width = 4 * kWidth * patch_;
  const auto plan = vae_.encoder->Plan(height, width);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->stages.back().height, kHeight);
  EXPECT_EQ(plan->stages.back().width, kWidth);
  constexpr int64_t kFrames = 9, kLatents = 3, kPlane = kHeight * kWidth;
  const int64_t frame = int64_t{3} * height * width;
  const std::vector<float> video = Normals(kFrames * frame, 3);
  Guarded caches(plan->cache_bytes), scratch(plan->scratch_bytes);
  WanStream stream{.caches = caches.data()};
  std::vector<float> latents(kChannels * kLatents * kPlane);
  std::vector<bool> completed;
  int64_t t = 0;
  for (int64_t f = 0; f < kFrames; ++f) {
    completed.push_back(
        vae_.encoder->Encode(*plan, video.data() + f * frame, &stream, scratch.data(), kLatents, t, latents.data()));
    t += completed.back();
  }
  EXPECT_THAT(completed, ::testing::ElementsAre(true, false, false, false, true, false, false, false, true));
  EXPECT_TRUE(caches.Intact());
  EXPECT_TRUE(scratch.Intact());
  EXPECT_TRUE(std::all_of(latents.begin(), latents.end(), [](float v) { return std::isfinite(v); }));

  // The first frame by itself, without caches, is the stream's first latent.
  WanStream image;
  std::vector<float> first(kChannels * kPlane);
  ASSERT_TRUE(vae_.encoder->Encode(*plan, video.data(), &image, scratch.data(), 1, 0, first.data()));
  for (int64_t c = 0; c < kChannels; ++c) {
    EXPECT_TRUE(std::equal(first.begin() + c * kPlane, first.begin() + (c + 1) * kPlane,
                           latents.begin() + c * kLatents * kPlane));
  }
}

TEST_P(WanVaeTest, RefusesSizesThatNoLatentHas) {
  EXPECT_THAT(std::string(vae_.encoder->Plan(3 * patch_, 8 * patch_).status().message()), HasSubstr("smaller"));
  if (patch_ == 2) {
    EXPECT_THAT(std::string(vae_.encoder->Plan(16, 17).status().message()), HasSubstr("patch_size"));
  }
}

TEST(WanVaeFolder, LoadsOnlyWhatIsWanted) {
  const WanFolder folder;
  const auto ops = MakeReferenceOps();
  const auto vae = LoadWanVae(folder.Write(), {.decoder = true}, ops.get());
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
                                         {"_class_name", "AutoencoderKLLTX2Video"},
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
    const auto vae = LoadWanVae(folder.Write(), {.decoder = true}, ops.get());
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
  const auto vae = LoadWanVae(folder.Write(), {.decoder = true, .encoder = true}, ops.get());
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
      const WanParts parts{.decoder = decoder, .encoder = !decoder};
      WanFolder missing;
      missing.tensors.erase(name);
      EXPECT_THAT(std::string(LoadWanVae(missing.Write(), parts, ops.get()).status().message()), HasSubstr(name));
      WanFolder wrong;
      ++wrong.tensors[name][0];
      EXPECT_THAT(std::string(LoadWanVae(wrong.Write(), parts, ops.get()).status().message()), HasSubstr(name));
      WanFolder superfluous;
      superfluous.tensors[name + "_2"] = {1};
      EXPECT_THAT(std::string(LoadWanVae(superfluous.Write(), parts, ops.get()).status().message()),
                  HasSubstr(name + "_2"));
    }
  }
}

}  // namespace
}  // namespace longtake
