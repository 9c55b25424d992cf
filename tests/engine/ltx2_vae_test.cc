// The LTX-2 VAE as a stream: any cut, any neighbour, any number of threads and dirty memory give the same bytes, inside
// the planned memory.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/models/video/load.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/ltx2_folder.h"
#include "tests/engine/vae_memory.h"

namespace longtake {
namespace {

using ::testing::HasSubstr;

constexpr int kHeight = 2, kWidth = 3;  // latent
constexpr int64_t kChannels = 4, kPlane = kHeight * kWidth, kLatentFrame = kChannels * kPlane;

struct Setting {
  const char* name;
  Ltx2Kind kind;
  int patch;
  std::string backend;
  std::string dtype = "float32";
};

// One decoder's frames, as values.
class Video {
 public:
  Video(const SizedVideoDecoder& decoder, const LatentGeometry& geometry) : decoder_(decoder), geometry_(geometry) {}

  // Takes frame `t` of `latents` [channels, frames, plane].
  void Decode(const std::vector<float>& latents, int64_t t, VideoStream* stream, uint8_t* scratch) {
    const int64_t before = frames_, taken = stream->frames;
    decoder_.Decode(latents.data(), static_cast<int64_t>(latents.size()) / kLatentFrame, t, stream, scratch, add_);
    EXPECT_EQ(frames_ - before, geometry_.Emitted(taken + 1) - geometry_.Emitted(taken));
  }
  // Returns whether any are left.
  bool Drain(VideoStream* stream, uint8_t* scratch) {
    const int64_t before = frames_;
    const bool left = decoder_.Drain(stream, scratch, add_);
    EXPECT_LE(frames_ - before, geometry_.frames);
    return left;
  }
  const std::vector<float>& values() const { return values_; }
  void Clear() { values_.clear(); }

 private:
  void Add(const VideoFrame& frame) {
    EXPECT_EQ(frame.height(), kHeight * geometry_.stride_h);
    EXPECT_EQ(frame.width(), kWidth * geometry_.stride_w);
    const float* values = static_cast<const float*>(frame.pixels.data);
    values_.insert(values_.end(), values, values + frame.pixels.rows * frame.pixels.cols);
    ++frames_;
  }

  const SizedVideoDecoder& decoder_;
  const LatentGeometry& geometry_;
  const std::function<void(const VideoFrame&)> add_ = [this](const VideoFrame& frame) { Add(frame); };
  std::vector<float> values_;
  int64_t frames_ = 0;
};

class Ltx2VaeTest : public ::testing::TestWithParam<Setting> {
 protected:
  void SetUp() override { Load(2); }
  void Load(int threads) {
    auto ops = MakeBackend({.backend = GetParam().backend, .dtype = GetParam().dtype, .threads = threads});
    ASSERT_TRUE(ops.ok()) << ops.status();
    auto vae = LoadVideoVae(folder_.Write(), {.decoder = true, .encoder = true}, ops->get());
    ASSERT_TRUE(vae.ok()) << vae.status();
    decoder_.reset();
    vae_ = *std::move(vae);
    ops_ = *std::move(ops);
    geometry_ = vae_.decoder->geometry();
    decoder_ = vae_.decoder->ForLatents(kHeight, kWidth);
  }
  bool causal() const { return GetParam().kind == Ltx2Kind::kCausal; }

  std::vector<float> Whole(const std::vector<float>& latents) {
    Guarded caches(decoder_->cache_bytes()), scratch(decoder_->scratch_bytes());
    VideoStream stream{.caches = caches.data()};
    Video video(*decoder_, geometry_);
    const int64_t count = static_cast<int64_t>(latents.size()) / kLatentFrame;
    for (int64_t t = 0; t < count; ++t) video.Decode(latents, t, &stream, scratch.data());
    while (video.Drain(&stream, scratch.data())) {
    }
    EXPECT_TRUE(caches.Intact());
    EXPECT_TRUE(scratch.Intact());
    EXPECT_EQ(stream.frames, count);
    EXPECT_EQ(static_cast<int64_t>(video.values().size()), geometry_.Frames(count) * FrameValues());
    EXPECT_TRUE(std::all_of(video.values().begin(), video.values().end(), [](float v) { return std::isfinite(v); }));
    return video.values();
  }

  int64_t FrameValues() const { return int64_t{3} * kHeight * geometry_.stride_h * kWidth * geometry_.stride_w; }
  // Longer than the decoder looks ahead, so that frames come out before the end too.
  int64_t LongClip() const { return geometry_.delay_frames / geometry_.frames + 4; }

  Ltx2Folder folder_{GetParam().kind, GetParam().patch};
  std::unique_ptr<Ops> ops_;
  VideoVae vae_;
  LatentGeometry geometry_;
  std::unique_ptr<SizedVideoDecoder> decoder_;
};

// "auto" is bfloat16 where the processor has it.
INSTANTIATE_TEST_SUITE_P(Settings, Ltx2VaeTest,
                         ::testing::Values(Setting{"ltx2_reference", Ltx2Kind::kLtx2, 1, "reference"},
                                           Setting{"ltx2_cpu", Ltx2Kind::kLtx2, 2, "cpu"},
                                           Setting{"ltx2_auto", Ltx2Kind::kLtx2, 1, "cpu", "auto"},
                                           Setting{"ltx23_cpu", Ltx2Kind::kLtx23, 1, "cpu"},
                                           Setting{"ltx23_auto", Ltx2Kind::kLtx23, 2, "cpu", "auto"},
                                           Setting{"causal_reference", Ltx2Kind::kCausal, 1, "reference"},
                                           Setting{"causal_cpu", Ltx2Kind::kCausal, 2, "cpu"}),
                         [](const auto& test) { return test.param.name; });

TEST_P(Ltx2VaeTest, GivesTheSameBytesInAnyCutAndCompany) {
  const int64_t count = LongClip();
  const std::vector<float> latents = Normals(count * kLatentFrame, 1), others = Normals(count * kLatentFrame, 2);
  const std::vector<float> expected = Whole(latents), expected_others = Whole(others);
  ASSERT_NE(expected, expected_others);

  for (const int64_t cut : {int64_t{1}, count / 2, count - 1}) {
    SCOPED_TRACE(cut);
    // Two sessions in one scratch; the first one's caches move elsewhere at the cut, as when it is parked.
    const size_t cache_bytes = decoder_->cache_bytes();
    Guarded home(cache_bytes), away(cache_bytes), other(cache_bytes), scratch(decoder_->scratch_bytes());
    VideoStream stream{.caches = home.data()}, other_stream{.caches = other.data()};
    Video video(*decoder_, geometry_), other_video(*decoder_, geometry_);
    int64_t first = 0;
    for (const int64_t length : {cut, count - cut}) {
      std::vector<float> block;
      for (int64_t c = 0; c < kChannels; ++c) {
        const auto begin = latents.begin() + (c * count + first) * kPlane;
        block.insert(block.end(), begin, begin + length * kPlane);
      }
      for (int64_t t = 0; t < length; ++t) {
        video.Decode(block, t, &stream, scratch.data());
        other_video.Decode(others, first + t, &other_stream, scratch.data());
      }
      first += length;
      if (first == count) break;
      std::memcpy(away.data(), home.data(), cache_bytes);
      std::memset(home.data(), Guarded::kFill, cache_bytes);
      stream.caches = away.data();
    }
    bool left = true, other_left = true;
    while (left || other_left) {
      if (left) left = video.Drain(&stream, scratch.data());
      if (other_left) other_left = other_video.Drain(&other_stream, scratch.data());
    }
    EXPECT_EQ(video.values(), expected);
    EXPECT_EQ(other_video.values(), expected_others);
  }
}

TEST_P(Ltx2VaeTest, ThreadsChangeNoByte) {
  const std::vector<float> latents = Normals(3 * kLatentFrame, 1);
  const std::vector<float> expected = Whole(latents);
  for (const int threads : {1, 3}) {
    ASSERT_NO_FATAL_FAILURE(Load(threads));
    EXPECT_EQ(Whole(latents), expected) << threads;
  }
}

// Clips shorter than what the decoder looks ahead, down to one frame.
TEST_P(Ltx2VaeTest, ShortClipsAreWhole) {
  for (const int64_t count : {1, 2, 3}) {
    const std::vector<float> frames = Whole(Normals(count * kLatentFrame, 1));
    EXPECT_EQ(static_cast<int64_t>(frames.size()), geometry_.Frames(count) * FrameValues());
  }
}

TEST_P(Ltx2VaeTest, EmitsAsManyFramesAsItSays) {
  const int64_t count = geometry_.delay_frames / geometry_.frames + 2;
  const std::vector<float> latents = Normals(count * kLatentFrame, 1);
  Guarded caches(decoder_->cache_bytes()), scratch(decoder_->scratch_bytes());
  VideoStream stream{.caches = caches.data()};
  Video video(*decoder_, geometry_);
  const auto emitted = [&] { return static_cast<int64_t>(video.values().size()) / FrameValues(); };
  for (int64_t t = 0; t < count; ++t) {
    video.Decode(latents, t, &stream, scratch.data());
    EXPECT_EQ(emitted(), vae_.decoder->EmittedAfter(t + 1, 0));
  }
  while (stream.drained < vae_.decoder->drain_steps()) {
    const bool left = video.Drain(&stream, scratch.data());
    EXPECT_EQ(emitted(), vae_.decoder->EmittedAfter(count, stream.drained));
    EXPECT_EQ(left, stream.drained < vae_.decoder->drain_steps());
  }
  EXPECT_EQ(emitted(), geometry_.Frames(count));
  EXPECT_FALSE(video.Drain(&stream, scratch.data()));
  EXPECT_EQ(vae_.decoder->drain_steps() == 0, causal());
}

// A number that is none marks what it reaches, whatever the weights: of the video frames that later latent frames give,
// as many as the geometry says.
TEST_P(Ltx2VaeTest, VideoFramesDependOnAsManyLatentsAsTheGeometrySays) {
  constexpr int64_t kMarked = 1;
  const int64_t count = kMarked + geometry_.rebuild_latents + 2;
  std::vector<float> latents = Normals(count * kLatentFrame, 1);
  latents[kMarked * kPlane] = NAN;  // of the first channel
  Guarded caches(decoder_->cache_bytes()), scratch(decoder_->scratch_bytes());
  VideoStream stream{.caches = caches.data()};
  Video video(*decoder_, geometry_);
  for (int64_t latent = 0; latent < count; ++latent) {
    video.Clear();
    video.Decode(latents, latent, &stream, scratch.data());
    const bool marked = std::ranges::any_of(video.values(), [](float v) { return std::isnan(v); });
    const int64_t last = kMarked + geometry_.rebuild_latents;
    if (latent >= last) {
      EXPECT_EQ(marked, latent == last) << latent;
    }
  }
}

TEST_P(Ltx2VaeTest, RebuiltCachesContinueTheStream) {
  const int64_t count = geometry_.rebuild_latents + 3;
  const std::vector<float> latents = Normals(count * kLatentFrame, 1);
  const std::vector<float> expected = Whole(latents);
  // Where the whole stream is decoded again, and where only its end is.
  for (const int64_t position : {int64_t{1}, geometry_.rebuild_latents + 2}) {
    SCOPED_TRACE(position);
    Guarded caches(decoder_->cache_bytes()), scratch(decoder_->scratch_bytes());
    VideoStream stream = VideoStream::Rebuild(geometry_, position, caches.data());
    Video again(*decoder_, geometry_), video(*decoder_, geometry_);
    while (stream.frames < position) {
      decoder_->Decode(latents.data(), count, stream.frames, &stream, scratch.data(), [](const VideoFrame&) {});
    }
    while (stream.frames < count) video.Decode(latents, stream.frames, &stream, scratch.data());
    while (video.Drain(&stream, scratch.data())) {
    }
    const auto begin = expected.begin() + geometry_.Emitted(position) * FrameValues();
    EXPECT_TRUE(std::equal(video.values().begin(), video.values().end(), begin, expected.end()));
  }
}

TEST_P(Ltx2VaeTest, UsesAllOfThePlannedMemoryAndNoMore) {
  const int64_t count = LongClip();
  const std::vector<float> latents = Normals(count * kLatentFrame, 1);
  Guarded caches(decoder_->cache_bytes()), scratch(decoder_->scratch_bytes());
  VideoStream stream{.caches = caches.data()};
  Video video(*decoder_, geometry_);
  for (int64_t t = 0; t < count; ++t) video.Decode(latents, t, &stream, scratch.data());
  while (video.Drain(&stream, scratch.data())) {
  }
  EXPECT_TRUE(caches.Intact());
  EXPECT_TRUE(scratch.Intact());
  EXPECT_EQ(caches.UntouchedLines(), 0u);
  EXPECT_EQ(scratch.UntouchedLines(), 0u);
}

TEST_P(Ltx2VaeTest, EncodesAsAStream) {
  const int height = geometry_.stride_h * kHeight, width = geometry_.stride_w * kWidth;
  const auto sized = vae_.encoder->ForFrames(height, width);
  ASSERT_TRUE(sized.ok()) << sized.status();
  const SizedVideoEncoder& encoder = **sized;
  EXPECT_EQ(encoder.latent_height(), kHeight);
  EXPECT_EQ(encoder.latent_width(), kWidth);
  constexpr int64_t kFrames = 17, kLatents = 3;
  const int64_t frame = int64_t{3} * height * width;
  const std::vector<float> video = Normals(kFrames * frame, 3);
  Guarded caches(encoder.cache_bytes()), scratch(encoder.scratch_bytes());
  VideoStream stream{.caches = caches.data()};
  std::vector<float> latents(kLatentFrame * kLatents);
  int64_t t = 0;
  for (int64_t f = 0; f < kFrames; ++f) {
    const bool completes =
        encoder.Encode(video.data() + f * frame, &stream, scratch.data(), kLatents, t, latents.data());
    EXPECT_EQ(completes, f % 8 == 0) << f;
    t += completes;
  }
  EXPECT_TRUE(caches.Intact());
  EXPECT_EQ(caches.UntouchedLines(), 0u);
  EXPECT_TRUE(std::all_of(latents.begin(), latents.end(), [](float v) { return std::isfinite(v); }));

  // The first frame by itself, without caches, is the stream's first latent.
  VideoStream image;
  std::vector<float> first(kLatentFrame);
  ASSERT_TRUE(encoder.Encode(video.data(), &image, scratch.data(), 1, 0, first.data()));
  for (int64_t c = 0; c < kChannels; ++c) {
    EXPECT_TRUE(std::equal(first.begin() + c * kPlane, first.begin() + (c + 1) * kPlane,
                           latents.begin() + c * kLatents * kPlane));
  }
  // Without caches the inputs of convolutions are in scratch.
  EXPECT_TRUE(scratch.Intact());
  EXPECT_EQ(scratch.UntouchedLines(), 0u);
}

TEST_P(Ltx2VaeTest, RefusesSizesThatNoLatentHas) {
  const int unit = geometry_.stride_h;
  for (const auto& [height, width] : {std::pair{unit, unit + 1}, {unit / 2, unit}, {0, unit}}) {
    EXPECT_THAT(std::string(vae_.encoder->ForFrames(height, width).status().message()), HasSubstr("multiple"));
  }
}

}  // namespace
}  // namespace longtake
