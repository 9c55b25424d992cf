// Videos through the engine with a tiny decoder beside the VAE: the bundled model's text encoder and transformer, and a
// small random VAE and tiny decoder for latents of as many channels.
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/bundled_parts.h"
#include "tests/engine/engine_driver.h"
#include "tests/engine/ltx2_folder.h"
#include "tests/engine/taehv_folder.h"

namespace longtake {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

constexpr int64_t kChannels = 16;
constexpr Size kSize{64, 32};
constexpr int kLatents = 7;
constexpr char kSettings[] =
    R"({"sampler":"few_step","timesteps":[1000,500],"shift":1.0,"block_latent_frames":2,"state_window_blocks":2,
  "lower_case":true,"caption_tokens":28,"sizes":["64x32"],"max_latent_frames":64})";

// A model folder whose VAE makes 8 video frames of a latent frame, of 8 x 8 pixels a latent.
class Model {
 public:
  explicit Model(bool tiny = true) : vae_(Ltx2Kind::kCausal, 1, 32, 1, kChannels) {
    LinkBundled(folder_, {"transformer", "text_encoder", "tokenizer"});
    folder_.Write("longtake.json", kSettings);
    fs::create_directory(path() + "/vae");
    vae_.Write(path() + "/vae");
    if (tiny) TaehvFile({2, 2, 2}, 1, kChannels).Write(path() + "/tiny_decoder/taeltx.safetensors");
  }
  const std::string& path() const { return folder_.path(); }

 private:
  TempFolder folder_;
  Ltx2Folder vae_;
};

std::unique_ptr<Engine> Load(const Model& model, int threads = 2, int cache_slots = 0) {
  auto engine = Engine::Load({.model_dir = model.path(),
                              .dtype = "float32",
                              .threads = threads,
                              .max_sessions = 3,
                              .decoder_cache_slots = cache_slots});
  EXPECT_TRUE(engine.ok()) << engine.status();
  return *std::move(engine);
}

Job Of(DecoderKind decoder, uint64_t seed = 7) {
  return {.spec = {.size = kSize, .latent_frames = kLatents, .seed = seed, .decoder = decoder}, .prompt = "a red ball"};
}

// Makes the session's next block.
void MakeBlock(Engine& engine, SessionId id) {
  for (int step = 0; step < engine.model().denoise_steps; ++step) {
    ASSERT_TRUE(RunPass(engine, {.kind = PassKind::kDenoise, .session = id}).status.ok());
  }
  ASSERT_TRUE(RunPass(engine, {.kind = PassKind::kCommit, .session = id}).status.ok());
}

void Decode(Engine& engine, SessionId id, int latents, std::vector<uint8_t>* bytes,
            std::optional<DecoderKind> decoder = std::nullopt) {
  for (int i = 0; i < latents; ++i) {
    const PassResult result = RunPass(engine, {.kind = PassKind::kDecode, .session = id, .decoder = decoder});
    ASSERT_TRUE(result.status.ok()) << result.status;
    bytes->insert(bytes->end(), result.frames.bytes.begin(), result.frames.bytes.end());
  }
}

TEST(TaehvEngine, BatchesOfBothDecodersChangeNoByte) {
  const Model model;
  const auto engine = Load(model);
  EXPECT_TRUE(engine->model().has_tiny_decoder);
  EXPECT_GT(engine->model().tiny_decode_cost, 0);
  EXPECT_LE(engine->model().tiny_decode_cost, 1);
  const auto alone = [&](const Job& job) { return RunJobs(*engine, {job}, 1, 1)[0]; };
  const Made full = alone(Of(DecoderKind::kFull)), tiny = alone(Of(DecoderKind::kTiny));
  EXPECT_EQ(tiny.frames, 1 + 8 * (kLatents - 1));
  EXPECT_EQ(full.frames, tiny.frames);
  EXPECT_EQ(full.bytes.size(), tiny.bytes.size());
  EXPECT_NE(full.bytes, tiny.bytes);
  const std::vector<Job> jobs = {Of(DecoderKind::kFull), Of(DecoderKind::kTiny), Of(DecoderKind::kTiny, 8)};
  // Also with caches that move to host memory and back, and another number of threads.
  const auto other = Load(model, /*threads=*/1, /*cache_slots=*/1);
  EXPECT_EQ(other->model().numerics_id, engine->model().numerics_id);
  for (Engine* each : {engine.get(), other.get()}) {
    const std::vector<Made> mixed = RunJobs(*each, jobs, 0.6, 5);
    EXPECT_EQ(mixed[0].bytes, full.bytes);
    EXPECT_EQ(mixed[1].bytes, tiny.bytes);
    EXPECT_NE(mixed[2].bytes, tiny.bytes);
  }
}

// A checkpoint holds latents and no caches, so it goes on with either decoder, as if that had decoded from the first
// frame on.
TEST(TaehvEngine, ACheckpointGoesOnWithEitherDecoder) {
  const Model model;
  const auto engine = Load(model);
  const auto whole = [&](DecoderKind decoder) { return RunJobs(*engine, {Of(decoder)}, 1, 1)[0].bytes; };
  const std::vector<uint8_t> full = whole(DecoderKind::kFull), tiny = whole(DecoderKind::kTiny);
  const std::vector<int> lengths = engine->BlockLengths(kLatents, /*first_image=*/false);

  const SessionId id = *engine->OpenSession(Of(DecoderKind::kTiny).spec);
  ASSERT_TRUE(RunPass(*engine, {.kind = PassKind::kEncodePrompt, .session = id, .prompt = "a red ball"}).status.ok());
  std::vector<uint8_t> begin;
  MakeBlock(*engine, id);
  Decode(*engine, id, lengths[0], &begin);
  MakeBlock(*engine, id);
  Decode(*engine, id, 1, &begin);  // in the middle of a block
  const PassResult saved = RunPass(*engine, {.kind = PassKind::kSave, .session = id});
  ASSERT_TRUE(saved.status.ok()) << saved.status;
  engine->CloseSession(id);

  for (const DecoderKind decoder : {DecoderKind::kTiny, DecoderKind::kFull}) {
    const std::vector<uint8_t>& expected = decoder == DecoderKind::kTiny ? tiny : full;
    const SessionId restored = *engine->OpenSession(Of(decoder).spec);
    const PassResult restore =
        RunPass(*engine, {.kind = PassKind::kRestore, .session = restored, .checkpoint = saved.checkpoint});
    ASSERT_TRUE(restore.status.ok()) << restore.status;
    EXPECT_EQ(engine->progress(restored)->spec.decoder, decoder);
    std::vector<uint8_t> rest;
    Decode(*engine, restored, lengths[1] - 1, &rest);
    for (size_t block = 2; block < lengths.size(); ++block) {
      MakeBlock(*engine, restored);
      Decode(*engine, restored, lengths[block], &rest);
    }
    ASSERT_LT(rest.size(), expected.size());
    EXPECT_EQ(rest, std::vector<uint8_t>(expected.end() - static_cast<int64_t>(rest.size()), expected.end()));
    if (decoder == DecoderKind::kTiny) {
      begin.insert(begin.end(), rest.begin(), rest.end());
      EXPECT_EQ(begin, expected);
    }
    engine->CloseSession(restored);
  }
}

// Each decoder goes on as if it had decoded from the first frame on, also in the middle of a block, beside another
// session, and with caches that move to host memory and back.
TEST(TaehvEngine, TheDecoderChangesFromOneLatentFrameToTheNext) {
  const Model model;
  for (const int cache_slots : {0, 1}) {
    const auto engine = Load(model, /*threads=*/2, cache_slots);
    EXPECT_GT(engine->model().rebuild_latents, 0);
    EXPECT_EQ(engine->model().tiny_rebuild_latents, 6);
    const auto whole = [&](DecoderKind decoder) { return RunJobs(*engine, {Of(decoder)}, 1, 1)[0].bytes; };
    const std::vector<uint8_t> full = whole(DecoderKind::kFull), tiny = whole(DecoderKind::kTiny);
    const std::vector<int> lengths = engine->BlockLengths(kLatents, /*first_image=*/false);
    const std::vector<DecoderKind> decoders = {DecoderKind::kTiny, DecoderKind::kTiny, DecoderKind::kFull,
                                               DecoderKind::kFull, DecoderKind::kTiny, DecoderKind::kFull,
                                               DecoderKind::kFull};
    ASSERT_EQ(decoders.size(), static_cast<size_t>(kLatents));
    const SessionId id = *engine->OpenSession(Of(DecoderKind::kFull).spec);
    const SessionId other = *engine->OpenSession(Of(DecoderKind::kFull).spec);
    std::vector<uint8_t> made, made_beside, expected;
    for (const SessionId session : {id, other}) {
      ASSERT_TRUE(
          RunPass(*engine, {.kind = PassKind::kEncodePrompt, .session = session, .prompt = "a red ball"}).status.ok());
    }
    size_t latent = 0;
    for (const int length : lengths) {
      MakeBlock(*engine, id);
      MakeBlock(*engine, other);
      for (int i = 0; i < length; ++i, ++latent) {
        Decode(*engine, id, 1, &made, decoders[latent]);
        EXPECT_EQ(engine->progress(id)->spec.decoder, decoders[latent]);
        Decode(*engine, other, 1, &made_beside);
        const std::vector<uint8_t>& from = decoders[latent] == DecoderKind::kTiny ? tiny : full;
        expected.insert(expected.end(), from.begin() + static_cast<int64_t>(expected.size()),
                        from.begin() + static_cast<int64_t>(made.size()));
      }
    }
    EXPECT_EQ(made, expected) << cache_slots;
    EXPECT_EQ(made_beside, full) << cache_slots;
  }
}

TEST(TaehvEngine, MemoryIsAsPlanned) {
  const auto engine = Load(Model());
  const std::vector<MemoryRegion> before = engine->memory();
  RunJobs(*engine, {Of(DecoderKind::kTiny), Of(DecoderKind::kFull)}, 1, 1);
  const std::vector<MemoryRegion> after = engine->memory();
  for (size_t i = 0; i < after.size(); ++i) {
    EXPECT_EQ(after[i].planned_bytes, before[i].planned_bytes) << after[i].name;
    EXPECT_LE(after[i].used_bytes, after[i].planned_bytes) << after[i].name;
  }
}

TEST(TaehvEngine, IsRefusedWhereTheFolderHasNone) {
  const Model model(/*tiny=*/false);
  const auto engine = Load(model);
  EXPECT_FALSE(engine->model().has_tiny_decoder);
  EXPECT_EQ(engine->model().tiny_decode_cost, 1);
  const absl::Status status = engine->OpenSession(Of(DecoderKind::kTiny).spec).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("decoder: the model has no tiny decoder"));

  const SessionId id = *engine->OpenSession(Of(DecoderKind::kFull).spec);
  ASSERT_TRUE(RunPass(*engine, {.kind = PassKind::kEncodePrompt, .session = id, .prompt = "a red ball"}).status.ok());
  MakeBlock(*engine, id);
  const auto decode = [&](DecoderKind decoder) {
    return RunPass(*engine, {.kind = PassKind::kDecode, .session = id, .decoder = decoder}).status;
  };
  EXPECT_EQ(decode(DecoderKind::kTiny).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(decode(DecoderKind::kFull).ok());
}

// A tiny decoder is part of the model: its videos depend on it.
TEST(TaehvEngine, CountsInDigestAndNumerics) {
  const Model with, without(/*tiny=*/false);
  const auto one = Load(with), other = Load(without);
  EXPECT_NE(one->model().model_digest, other->model().model_digest);
  EXPECT_NE(one->model().numerics_id, other->model().numerics_id);
}

}  // namespace
}  // namespace longtake
