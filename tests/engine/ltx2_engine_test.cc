// Videos through the engine with an LTX-2 VAE: the bundled model's text encoder and transformer, and a small random VAE
// for latents of as many channels.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/engine.h"
#include "engine/models/video/clip_decoder.h"
#include "engine/models/video/load.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/bundled_parts.h"
#include "tests/engine/engine_driver.h"
#include "tests/engine/ltx2_folder.h"

namespace longtake {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

constexpr int64_t kChannels = 16;
constexpr Size kSize{64, 32};  // 4 x 8 latents
// An emulated device is slow: less of one kind.
constexpr bool kEmulated = std::string_view(LONGTAKE_TEST_BACKEND) == "cuda";
constexpr int kLatents = kEmulated ? 3 : 11;  // 17 or 81 video frames; 81 are 5 s
constexpr char kBidirectional[] =
    R"({"family":"longtake","sampler":"flow_dpm_solver","steps":3,"guidance":3.0,"lower_case":true,
  "caption_tokens":28,"sizes":["64x32","32x32"],"max_latent_frames":11})";
constexpr char kFewStep[] =
    R"({"sampler":"few_step","timesteps":[1000,500],"shift":1.0,"block_latent_frames":2,"state_window_blocks":2,
  "lower_case":true,"caption_tokens":28,"sizes":["64x32"],"max_latent_frames":64})";

// A model folder.
class Model {
 public:
  Model(Ltx2Kind kind, const std::string& longtake_json) : vae_(kind, 1, 32, 1, kChannels) {
    LinkBundled(folder_, {"transformer", "text_encoder", "tokenizer"});
    folder_.Write("longtake.json", longtake_json);
    fs::create_directory(folder_.path() + "/vae");
    vae_.Write(folder_.path() + "/vae");
  }
  const std::string& path() const { return folder_.path(); }

 private:
  TempFolder folder_;
  Ltx2Folder vae_;
};

absl::StatusOr<std::unique_ptr<Engine>> Load(const Model& model, int threads = 2) {
  return Engine::Load({.model_dir = model.path(),
                       .backend = LONGTAKE_TEST_BACKEND,
                       .dtype = LONGTAKE_TEST_DTYPE,
                       .threads = threads,
                       .max_sessions = 2});
}

// Makes the session's next block, up to its decoding.
void MakeBlock(Engine& engine, SessionId id) {
  for (int step = 0; step < engine.model().denoise_steps; ++step) {
    ASSERT_TRUE(RunPass(engine, {.kind = PassKind::kDenoise, .session = id}).status.ok());
  }
  ASSERT_TRUE(RunPass(engine, {.kind = PassKind::kCommit, .session = id}).status.ok());
}

SessionId Open(Engine& engine, int latents, uint64_t seed) {
  const SessionId id = *engine.OpenSession({kSize, latents, seed});
  EXPECT_TRUE(RunPass(engine, {.kind = PassKind::kEncodePrompt, .session = id, .prompt = "a red ball"}).status.ok());
  return id;
}

// Decodes `count` latent frames. Latent frame k gives the frames that belong to it.
std::vector<std::vector<uint8_t>> Decode(Engine& engine, SessionId id, int count) {
  std::vector<std::vector<uint8_t>> frames;
  for (int i = 0; i < count; ++i) {
    const int latent = engine.progress(id)->decoded_latents;
    const PassResult result = RunPass(engine, {.kind = PassKind::kDecode, .session = id});
    EXPECT_TRUE(result.status.ok()) << result.status;
    EXPECT_EQ(result.frames.count, latent == 0 ? 1 : 8) << latent;
    EXPECT_EQ(result.frames.first_frame, latent == 0 ? 0 : 8 * latent - 7);
    EXPECT_EQ(result.frames.bytes.size(),
              static_cast<size_t>(result.frames.count) * kSize.width * kSize.height * 3 / 2);
    frames.push_back(result.frames.bytes);
  }
  return frames;
}

const MemoryRegion& Region(const std::vector<MemoryRegion>& memory, const std::string& name) {
  return *std::ranges::find(memory, name, &MemoryRegion::name);
}

class Ltx2EngineTest : public testing::TestWithParam<Ltx2Kind> {};

INSTANTIATE_TEST_SUITE_P(Kinds, Ltx2EngineTest,
                         testing::ValuesIn(kEmulated
                                               ? std::vector{Ltx2Kind::kLtx23}
                                               : std::vector{Ltx2Kind::kLtx2, Ltx2Kind::kLtx23, Ltx2Kind::kCausal}),
                         [](const auto& test) {
                           return test.param == Ltx2Kind::kLtx2    ? "ltx2"
                                  : test.param == Ltx2Kind::kLtx23 ? "ltx23"
                                                                   : "causal";
                         });

// A clip of fewer latent frames than LTX-2's decoder looks ahead. A second session beside it, other thread
// counts and a restored session in the middle of decoding change no byte.
TEST_P(Ltx2EngineTest, MakesAClip) {
  const Model model(GetParam(), kBidirectional);
  auto engine = Load(model);
  ASSERT_TRUE(engine.ok()) << engine.status();
  EXPECT_EQ((*engine)->model().frames_per_latent, 8);
  EXPECT_EQ((*engine)->model().first_decode_cost, GetParam() == Ltx2Kind::kCausal ? 1.0 / 8 : 2.0);
  EXPECT_EQ((*engine)->model().block_latent_frames, 0);
  const SessionId id = Open(**engine, kLatents, 7);
  MakeBlock(**engine, id);
  const auto expected = Decode(**engine, id, kLatents);
  ASSERT_NE(expected[1], expected[2]);
  (*engine)->CloseSession(id);

  auto other = Load(model, /*threads=*/1);
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_EQ((*other)->model().numerics_id, (*engine)->model().numerics_id);
  const SessionId first = Open(**other, kLatents, 7), second = Open(**other, kLatents, 8);
  MakeBlock(**other, first);
  MakeBlock(**other, second);
  std::vector<std::vector<uint8_t>> frames, others;
  for (int latent = 0; latent < kLatents; ++latent) {
    frames.push_back(Decode(**other, first, 1).front());
    others.push_back(Decode(**other, second, 1).front());
  }
  EXPECT_EQ(frames, expected);
  EXPECT_NE(others, expected);
  (*other)->CloseSession(second);

  // After half of the latent frames, in an engine of its own.
  const SessionId saved = Open(**other, kLatents, 7);
  MakeBlock(**other, saved);
  auto begin = Decode(**other, saved, kLatents / 2);
  PassResult checkpoint = RunPass(**other, {.kind = PassKind::kSave, .session = saved});
  ASSERT_TRUE(checkpoint.status.ok()) << checkpoint.status;
  const SessionId restored = *(*engine)->OpenSession({kSize, kLatents, 7});
  const absl::Status status =
      RunPass(**engine,
              {.kind = PassKind::kRestore, .session = restored, .checkpoint = std::move(checkpoint.checkpoint)})
          .status;
  ASSERT_TRUE(status.ok()) << status;
  for (auto& latent : Decode(**engine, restored, kLatents - kLatents / 2)) begin.push_back(std::move(latent));
  EXPECT_EQ(begin, expected);
}

// The plan is what the decoder needs of the largest size, and what operations use is what was planned.
TEST_P(Ltx2EngineTest, MemoryIsAsPlanned) {
  const Model model(GetParam(), kBidirectional);
  auto engine = Load(model);
  ASSERT_TRUE(engine.ok()) << engine.status();
  auto ops = MakeBackend({.backend = LONGTAKE_TEST_BACKEND, .dtype = LONGTAKE_TEST_DTYPE, .threads = 2});
  ASSERT_TRUE(ops.ok());
  auto vae = LoadVideoVae(model.path() + "/vae", {.decoder = true}, ops->get());
  ASSERT_TRUE(vae.ok()) << vae.status();
  const size_t inner = vae->decoder->ForLatents(4, 8)->cache_bytes();
  // Seven finished frames wait behind the caches of a decoder that looks ahead.
  const size_t waiting = GetParam() == Ltx2Kind::kCausal ? 0 : 7 * sizeof(float) * 3 * kSize.width * kSize.height;
  const std::vector<MemoryRegion> before = (*engine)->memory();
  EXPECT_EQ(Region(before, "decoder_cache").planned_bytes, 2 * (inner + waiting));
  const SessionId id = Open(**engine, kLatents, 7);
  MakeBlock(**engine, id);
  Decode(**engine, id, kLatents);
  const std::vector<MemoryRegion> after = (*engine)->memory();
  for (size_t i = 0; i < after.size(); ++i) {
    EXPECT_EQ(after[i].planned_bytes, before[i].planned_bytes) << after[i].name;
    EXPECT_LE(after[i].used_bytes, after[i].planned_bytes) << after[i].name;
  }
}

// Block by block only what does not look ahead can show.
TEST(Ltx2Blocks, AreDecodedByTheCausalDecoder) {
  const Model model(Ltx2Kind::kCausal, kFewStep);
  auto engine = Load(model);
  ASSERT_TRUE(engine.ok()) << engine.status();
  const SessionId id = Open(**engine, 5, 7);
  std::vector<std::vector<uint8_t>> frames;
  for (const int length : (*engine)->BlockLengths(5, /*first_image=*/false)) {
    MakeBlock(**engine, id);
    for (auto& latent : Decode(**engine, id, length)) frames.push_back(std::move(latent));
  }
  EXPECT_EQ(frames.size(), 5u);
}

TEST(Ltx2Blocks, AreRefusedWhereTheDecoderLooksAhead) {
  const Model model(Ltx2Kind::kLtx2, kFewStep);
  const absl::Status status = Load(model).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()), HasSubstr("vae/config.json: field 'decoder_causal'"));
}

// The frames of whole clips, of any length, are the decoder's own. They are read here as they are emitted, which a
// device that runs later does not allow.
TEST(ClipDecoder, EmitsWhatTheDecoderEmits) {
  const Ltx2Folder folder(Ltx2Kind::kLtx23);
  auto ops = MakeBackend({.backend = "cpu", .dtype = "float32", .threads = 2});
  ASSERT_TRUE(ops.ok());
  const auto load = [&] { return LoadVideoVae(folder.Write(), {.decoder = true}, ops->get()); };
  auto plain = load(), wrapped = load();
  ASSERT_TRUE(plain.ok() && wrapped.ok());
  const auto clips = DecodeWholeClips(std::move(wrapped->decoder), ops->get());
  EXPECT_EQ(clips->geometry().delay_frames, 0);
  const auto inner = plain->decoder->ForLatents(2, 3), outer = clips->ForLatents(2, 3);
  for (const int64_t count : {1, 2, 5, 20}) {
    SCOPED_TRACE(count);
    std::vector<float> latents(count * 4 * 2 * 3), expected, actual;
    for (size_t i = 0; i < latents.size(); ++i) latents[i] = static_cast<float>(i * 37 % 101) / 50 - 1;
    const auto into = [](std::vector<float>* to) {
      return [to](const VideoFrame& frame) {
        const auto* values = static_cast<const float*>(frame.pixels.data);
        to->insert(to->end(), values, values + frame.pixels.rows * frame.pixels.cols);
      };
    };
    const auto allocate = [&](size_t bytes) { return (*ops)->device().Allocate(bytes); };
    const auto caches = allocate(inner->cache_bytes()), scratch = allocate(inner->scratch_bytes());
    VideoStream stream{.caches = caches->data()};
    for (int64_t t = 0; t < count; ++t) {
      inner->Decode(latents.data(), count, t, &stream, scratch->data(), into(&expected));
    }
    while (inner->Drain(&stream, scratch->data(), into(&expected))) {
    }
    const auto clip_caches = allocate(outer->cache_bytes()), clip_scratch = allocate(outer->scratch_bytes());
    VideoStream clip{.caches = clip_caches->data()};
    const size_t frame = expected.size() / clips->geometry().Frames(count);
    for (int64_t t = 0; t < count; ++t) {
      outer->Decode(latents.data(), count, t, &clip, clip_scratch->data(), into(&actual));
      EXPECT_EQ(actual.size(), frame * clips->geometry().Frames(t + 1));
    }
    EXPECT_FALSE(outer->Drain(&clip, clip_scratch->data(), into(&actual)));
    EXPECT_EQ(actual, expected);
  }
}

}  // namespace
}  // namespace longtake
