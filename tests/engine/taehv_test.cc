// Tiny decoders as streams: any cut, any neighbour, any number of threads and dirty memory give the same bytes, inside
// the planned memory. Files that are none are refused by file and tensor.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/models/taehv/load.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/taehv_folder.h"
#include "tests/engine/temp_folder.h"
#include "tests/engine/vae_memory.h"

namespace longtake {
namespace {

using ::testing::HasSubstr;

constexpr int kHeight = 2, kWidth = 3;  // latent
constexpr int64_t kChannels = 4, kPlane = kHeight * kWidth, kLatentFrame = kChannels * kPlane;

struct Setting {
  const char* name;
  std::array<int, 3> times;
  int patch;
  std::string backend;
  std::string dtype = "float32";
  int stride = 8 * patch;  // pixels of a latent that the VAE has
};

class TaehvTest : public ::testing::TestWithParam<Setting> {
 protected:
  void SetUp() override {
    file_.Write(path_);
    Load(2);
  }
  void Load(int threads) {
    auto ops = MakeBackend({.backend = GetParam().backend, .dtype = GetParam().dtype, .threads = threads});
    ASSERT_TRUE(ops.ok()) << ops.status();
    const auto [a, b, c] = GetParam().times;
    const int stride = GetParam().stride;
    const LatentGeometry vae = {
        .channels = kChannels, .stride_h = stride, .stride_w = stride, .first_frames = 1, .frames = a * b * c};
    auto model = LoadTinyDecoder(path_, &vae, ops->get());
    ASSERT_TRUE(model.ok()) << model.status();
    decoder_.reset();
    model_ = *std::move(model);
    ops_ = *std::move(ops);
    decoder_ = model_->ForLatents(kHeight, kWidth);
  }
  const LatentGeometry& geometry() const { return model_->geometry(); }

  // Decodes frame `t` of `latents` and appends its video frames to `values`.
  void Decode(const std::vector<float>& latents, int64_t t, VideoStream* stream, Guarded& scratch,
              std::vector<float>* values) {
    int64_t frames = 0;
    decoder_->Decode(latents.data(), static_cast<int64_t>(latents.size()) / kLatentFrame, t, stream, scratch.data(),
                     [&](const VideoFrame& frame) {
                       EXPECT_EQ(frame.height(), kHeight * geometry().stride_h);
                       EXPECT_EQ(frame.width(), kWidth * geometry().stride_w);
                       const auto* pixels = static_cast<const float*>(frame.pixels.data);
                       values->insert(values->end(), pixels, pixels + frame.pixels.rows * frame.pixels.cols);
                       ++frames;
                     });
    EXPECT_EQ(frames, geometry().Frames(stream->frames) - geometry().Frames(stream->frames - 1));
  }
  std::vector<float> Whole(const std::vector<float>& latents) {
    Guarded caches(decoder_->cache_bytes()), scratch(decoder_->scratch_bytes());
    VideoStream stream{.caches = caches.data()};
    std::vector<float> values;
    const int64_t count = static_cast<int64_t>(latents.size()) / kLatentFrame;
    for (int64_t t = 0; t < count; ++t) Decode(latents, t, &stream, scratch, &values);
    EXPECT_FALSE(decoder_->Drain(&stream, scratch.data(), [](const VideoFrame&) {}));
    EXPECT_TRUE(caches.Intact());
    EXPECT_TRUE(scratch.Intact());
    EXPECT_TRUE(std::ranges::all_of(values, [](float v) { return std::isfinite(v); }));
    return values;
  }
  int64_t FrameValues() const { return int64_t{3} * kHeight * geometry().stride_h * kWidth * geometry().stride_w; }

  TempFolder folder_;
  const std::string path_ = folder_.path() + "/tiny_decoder/taew2_1.safetensors";
  TaehvFile file_{GetParam().times, GetParam().patch};
  std::unique_ptr<Ops> ops_;
  std::unique_ptr<VideoDecoder> model_;
  std::unique_ptr<SizedVideoDecoder> decoder_;
};

// "auto" is bfloat16 where the processor has it.
INSTANTIATE_TEST_SUITE_P(Settings, TaehvTest,
                         ::testing::Values(Setting{"wan_reference", {1, 2, 2}, 1, "reference"},
                                           Setting{"wan_cpu", {1, 2, 2}, 1, "cpu"},
                                           Setting{"wan_patch2_auto", {1, 2, 2}, 2, "cpu", "auto"},
                                           Setting{"first_stage_keeps_its_size", {1, 2, 2}, 4, "cpu", "float32", 16},
                                           Setting{"ltx_reference", {2, 2, 2}, 4, "reference"},
                                           Setting{"ltx_cpu", {2, 2, 2}, 4, "cpu"}),
                         [](const auto& test) { return test.param.name; });

TEST_P(TaehvTest, HasTheCadenceOfTheFullDecoder) {
  const auto [a, b, c] = GetParam().times;
  EXPECT_EQ(geometry().channels, kChannels);
  EXPECT_EQ(geometry().stride_h, GetParam().stride);
  EXPECT_EQ(geometry().stride_w, GetParam().stride);
  EXPECT_EQ(geometry().first_frames, 1);
  EXPECT_EQ(geometry().frames, a * b * c);
  EXPECT_EQ(geometry().delay_frames, 0);
  EXPECT_EQ(model_->patch(), GetParam().patch);
  EXPECT_EQ(static_cast<int64_t>(Whole(Normals(3 * kLatentFrame, 1)).size()), geometry().Frames(3) * FrameValues());
}

TEST_P(TaehvTest, GivesTheSameBytesInAnyCutAndCompany) {
  constexpr int64_t kCount = 5;
  const std::vector<float> latents = Normals(kCount * kLatentFrame, 1), others = Normals(kCount * kLatentFrame, 2);
  const std::vector<float> expected = Whole(latents), expected_others = Whole(others);
  ASSERT_NE(expected, expected_others);
  for (int64_t cut = 1; cut < kCount; ++cut) {
    SCOPED_TRACE(cut);
    // Two sessions in one scratch; the first one's caches move elsewhere at the cut, as when it is parked.
    const size_t cache_bytes = decoder_->cache_bytes();
    Guarded home(cache_bytes), away(cache_bytes), other(cache_bytes), scratch(decoder_->scratch_bytes());
    VideoStream stream{.caches = home.data()}, other_stream{.caches = other.data()};
    std::vector<float> video, other_video;
    int64_t first = 0;
    for (const int64_t length : {cut, kCount - cut}) {
      std::vector<float> block;
      for (int64_t c = 0; c < kChannels; ++c) {
        const auto begin = latents.begin() + (c * kCount + first) * kPlane;
        block.insert(block.end(), begin, begin + length * kPlane);
      }
      for (int64_t t = 0; t < length; ++t) {
        Decode(block, t, &stream, scratch, &video);
        Decode(others, first + t, &other_stream, scratch, &other_video);
      }
      first += length;
      std::memcpy(away.data(), home.data(), cache_bytes);
      std::memset(home.data(), Guarded::kFill, cache_bytes);
      stream.caches = away.data();
    }
    EXPECT_EQ(video, expected);
    EXPECT_EQ(other_video, expected_others);
  }
}

TEST_P(TaehvTest, ThreadsChangeNoByte) {
  const std::vector<float> latents = Normals(3 * kLatentFrame, 1);
  const std::vector<float> expected = Whole(latents);
  for (const int threads : {1, 3}) {
    ASSERT_NO_FATAL_FAILURE(Load(threads));
    EXPECT_EQ(Whole(latents), expected) << threads;
  }
}

// A number that is none marks what it reaches, whatever the weights.
TEST_P(TaehvTest, VideoFramesDependOnAsManyLatentsAsTheGeometrySays) {
  constexpr int64_t kMarked = 1;
  const int64_t last = kMarked + geometry().rebuild_latents, count = last + 3;
  std::vector<float> latents = Normals(count * kLatentFrame, 1);
  latents[kMarked * kPlane] = NAN;  // of the first channel
  Guarded caches(decoder_->cache_bytes()), scratch(decoder_->scratch_bytes());
  VideoStream stream{.caches = caches.data()};
  for (int64_t t = 0; t < count; ++t) {
    std::vector<float> video;
    Decode(latents, t, &stream, scratch, &video);
    const bool marked = std::ranges::any_of(video, [](float v) { return std::isnan(v); });
    EXPECT_EQ(marked, t >= kMarked && t <= last) << t;
  }
}

TEST_P(TaehvTest, RebuiltCachesContinueTheStream) {
  const int64_t count = geometry().rebuild_latents + 4;
  const std::vector<float> latents = Normals(count * kLatentFrame, 1), expected = Whole(latents);
  // Where the whole stream is decoded again, and where only its end is.
  for (const int64_t position : {int64_t{1}, geometry().rebuild_latents + 2}) {
    SCOPED_TRACE(position);
    Guarded caches(decoder_->cache_bytes()), scratch(decoder_->scratch_bytes());
    VideoStream stream = VideoStream::Rebuild(geometry(), position, caches.data());
    while (stream.frames < position) {
      decoder_->Decode(latents.data(), count, stream.frames, &stream, scratch.data(), [](const VideoFrame&) {});
    }
    std::vector<float> video;
    while (stream.frames < count) Decode(latents, stream.frames, &stream, scratch, &video);
    const auto begin = expected.begin() + geometry().Frames(position) * FrameValues();
    EXPECT_TRUE(std::equal(video.begin(), video.end(), begin, expected.end()));
  }
}

TEST_P(TaehvTest, UsesAllOfThePlannedMemoryAndNoMore) {
  const std::vector<float> latents = Normals(3 * kLatentFrame, 1);
  Guarded caches(decoder_->cache_bytes()), scratch(decoder_->scratch_bytes());
  VideoStream stream{.caches = caches.data()};
  std::vector<float> video;
  for (int64_t t = 0; t < 3; ++t) Decode(latents, t, &stream, scratch, &video);
  EXPECT_TRUE(caches.Intact());
  EXPECT_TRUE(scratch.Intact());
  EXPECT_EQ(caches.UntouchedLines(), 0u);
  EXPECT_EQ(scratch.UntouchedLines(), 0u);
}

// ---- Files

class TaehvFiles : public ::testing::Test {
 protected:
  absl::Status Load(const TaehvFile& file, const LatentGeometry* vae = nullptr) {
    file.Write(path_);
    return LoadTinyDecoder(path_, vae, ops_.get()).status();
  }
  void ExpectRefused(const absl::Status& status, const std::string& what) const {
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(std::string(status.message()), HasSubstr("tiny.safetensors"));
    EXPECT_THAT(std::string(status.message()), HasSubstr(what));
  }

  TempFolder folder_;
  const std::string path_ = folder_.path() + "/tiny_decoder/tiny.safetensors";
  std::unique_ptr<Ops> ops_ = *MakeBackend({.backend = "cpu", .dtype = "float32", .threads = 1});
  const LatentGeometry vae_ = {.channels = 4, .stride_h = 8, .stride_w = 8, .first_frames = 1, .frames = 4};
};

TEST_F(TaehvFiles, MissingAndSuperfluousTensorsAreNamed) {
  const TaehvFile whole;
  ASSERT_TRUE(Load(whole, &vae_).ok());
  for (const auto& [name, shape] : whole.tensors) {
    if (name.starts_with("encoder.")) continue;
    TaehvFile file = whole;
    file.tensors.erase(name);
    ExpectRefused(Load(file), name);
    file = whole;
    file.tensors[name].push_back(2);
    ExpectRefused(Load(file), name);
  }
  TaehvFile file = whole;
  file.tensors["decoder.23.weight"] = {4};
  ExpectRefused(Load(file), "'decoder.23.weight' is superfluous");
}

TEST_F(TaehvFiles, TheWideArchitectureIsRefusedByName) {
  TaehvFile file;
  file.tensors["decoder.0.weight"] = {8, 4, 1, 1};
  const absl::Status status = Load(file);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  ExpectRefused(status, "super");
}

TEST_F(TaehvFiles, MustAgreeWithTheVae) {
  const auto with = [&](auto change) {
    LatentGeometry other = vae_;
    change(other);
    return Load(TaehvFile(), &other);
  };
  ExpectRefused(with([](auto& g) { g.channels = 16; }), "4 latent channels, the VAE has 16");
  ExpectRefused(with([](auto& g) { g.stride_h = 16; }), "pixels per latent, vertically");
  ExpectRefused(with([](auto& g) { g.stride_w = 32; }), "pixels per latent, horizontally");
  ExpectRefused(with([](auto& g) { g.frames = 8; }), "makes 4 video frames of a latent frame, the VAE makes 8");
}

TEST_F(TaehvFiles, ImpossibleRowsAreNamed) {
  TaehvFile file;
  file.tensors["decoder.13.conv.weight"] = {13, 6, 1, 1};
  ExpectRefused(Load(file), "decoder.13.conv.weight");
  file = TaehvFile();
  file.tensors["decoder.22.weight"][0] = 5;
  ExpectRefused(Load(file), "decoder.22.weight");
}

// Weights for more frames than the VAE makes: the last rows are used.
TEST_F(TaehvFiles, TakesTheLastOfMoreRows) {
  const TaehvFile more({2, 2, 2}), exact({1, 2, 2});
  auto values = more.Values();
  more.Write(path_, values);
  auto& rows = values["decoder.7.conv.weight"];
  rows.erase(rows.begin(), rows.begin() + static_cast<int64_t>(rows.size()) / 2);
  const std::string other = folder_.path() + "/exact/tiny.safetensors";
  exact.Write(other, values);
  const std::vector<float> latents = Normals(2 * kLatentFrame, 3);
  std::vector<std::vector<float>> videos;
  for (const std::string& path : {path_, other}) {
    const auto model = LoadTinyDecoder(path, &vae_, ops_.get());
    ASSERT_TRUE(model.ok()) << model.status();
    const auto decoder = (*model)->ForLatents(kHeight, kWidth);
    Guarded caches(decoder->cache_bytes()), scratch(decoder->scratch_bytes());
    VideoStream stream{.caches = caches.data()};
    std::vector<float>& video = videos.emplace_back();
    for (int64_t t = 0; t < 2; ++t) {
      decoder->Decode(latents.data(), 2, t, &stream, scratch.data(), [&](const VideoFrame& frame) {
        const auto* pixels = static_cast<const float*>(frame.pixels.data);
        video.insert(video.end(), pixels, pixels + frame.pixels.rows * frame.pixels.cols);
      });
    }
  }
  EXPECT_EQ(videos[0], videos[1]);
}

TEST_F(TaehvFiles, AFolderHasOne) {
  EXPECT_EQ(*FindTinyDecoder(folder_.path()), "");
  TaehvFile().Write(path_);
  EXPECT_EQ(*FindTinyDecoder(folder_.path()), path_);
  TaehvFile().Write(folder_.path() + "/tiny_decoder/second.safetensors");
  EXPECT_THAT(std::string(FindTinyDecoder(folder_.path()).status().message()), HasSubstr("second tiny decoder"));
  std::filesystem::remove_all(folder_.path() + "/tiny_decoder");
  std::filesystem::create_directory(folder_.path() + "/tiny_decoder");
  EXPECT_THAT(std::string(FindTinyDecoder(folder_.path()).status().message()), HasSubstr("has no .safetensors file"));
}

}  // namespace
}  // namespace longtake
