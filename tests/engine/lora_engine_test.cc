// Sessions with adapters in a whole engine: their bytes do not depend on their batch, checkpoints belong to the
// adapters' files, and what cannot be right is refused.
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/engine_driver.h"
#include "tests/engine/engine_mixes.h"
#include "tests/engine/lora_files.h"
#include "tests/engine/temp_folder.h"

namespace longtake {
namespace {

using ::testing::HasSubstr;
using Bytes = std::vector<std::byte>;

absl::StatusOr<std::unique_ptr<Engine>> Load(const std::string& model, const std::string& adapters,
                                             const std::string& backend = "cpu", int threads = 2, int sessions = 4,
                                             const std::string& dtype = "auto") {
  EngineOptions options;
  options.model_dir = model;
  options.adapters_dir = adapters;
  options.backend = backend;
  options.dtype = dtype;
  options.threads = threads;
  options.max_sessions = sessions;
  return Engine::Load(options);
}

SessionSpec Spec(std::vector<AdapterUse> adapters, uint64_t seed = 7, int latents = 5) {
  return {.size = kSmall, .latent_frames = latents, .seed = seed, .adapters = std::move(adapters)};
}

Job MakeJob(SessionSpec spec) { return {.spec = std::move(spec), .prompt = "a big red ball bounces"}; }

class LoraEngineTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Variant(model_, kRunningSum);
    adapters_.Write("one.safetensors", LoraFile(TinyAdapter(1, 8)));
    adapters_.Write("two.safetensors", LoraFile(TinyAdapter(100, 3)));
    auto engine = Load(model_.path(), adapters_.path());
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
  }

  std::vector<uint8_t> Frames(const SessionSpec& spec) {
    return RunJobs(*engine_, {MakeJob(spec)}, /*activity=*/1, /*mix_seed=*/1)[0].bytes;
  }

  absl::Status Open(const SessionSpec& spec) {
    const absl::StatusOr<SessionId> id = engine_->OpenSession(spec);
    if (id.ok()) engine_->CloseSession(*id);
    return id.status();
  }

  const TempFolder model_, adapters_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(LoraEngineTest, ListsAdaptersAndTheirMemory) {
  ASSERT_EQ(engine_->model().adapters.size(), 2u);
  EXPECT_EQ(engine_->model().adapters[0].name, "one");
  EXPECT_EQ(engine_->model().adapters[0].digest.size(), 16u);
  EXPECT_NE(engine_->model().adapters[0].digest, engine_->model().adapters[1].digest);
  uint64_t bytes = 0;
  for (const MemoryRegion& region : engine_->memory()) {
    if (region.name == "adapters") bytes = region.planned_bytes;
  }
  EXPECT_GT(bytes, 200'000u);
}

// Sessions without adapters, with one, with another strength, with both, in one batch.
TEST_F(LoraEngineTest, BatchChangesNoByte) {
  const std::vector<Job> jobs = {MakeJob(Spec({})), MakeJob(Spec({{.name = "one"}})),
                                 MakeJob(Spec({{.name = "one", .strength = -0.5}})),
                                 MakeJob(Spec({{.name = "two", .strength = 0.8}, {.name = "one"}}))};
  auto alone = Load(model_.path(), adapters_.path(), "cpu", /*threads=*/1, /*sessions=*/1);
  ASSERT_TRUE(alone.ok()) << alone.status();
  ExpectEqualInAnyMix(**alone, *engine_, jobs, /*mixes=*/2);
}

// Layers of int8 have adapters of the activations' type.
TEST_F(LoraEngineTest, BatchChangesNoByteOfInt8) {
  auto alone = Load(model_.path(), adapters_.path(), "cpu", /*threads=*/1, /*sessions=*/1, "int8");
  if (absl::IsInvalidArgument(alone.status())) GTEST_SKIP() << alone.status();
  ASSERT_TRUE(alone.ok()) << alone.status();
  auto many = Load(model_.path(), adapters_.path(), "cpu", /*threads=*/2, /*sessions=*/3, "int8");
  ASSERT_TRUE(many.ok()) << many.status();
  const std::vector<Job> jobs = {MakeJob(Spec({})), MakeJob(Spec({{.name = "one"}})),
                                 MakeJob(Spec({{.name = "two", .strength = 0.8}, {.name = "one"}}))};
  ExpectEqualInAnyMix(**alone, **many, jobs, /*mixes=*/1);
  EXPECT_NE(RunJobs(**many, {jobs[0]}, 1, 1)[0].bytes, RunJobs(**many, {jobs[1]}, 1, 1)[0].bytes);
}

TEST_F(LoraEngineTest, AdaptersChangeTheVideoAndNothingElseDoes) {
  const std::vector<uint8_t> none = Frames(Spec({})), one = Frames(Spec({{.name = "one"}}));
  EXPECT_NE(none, one);
  EXPECT_NE(one, Frames(Spec({{.name = "two"}})));
  EXPECT_NE(one, Frames(Spec({{.name = "one", .strength = 0.5}})));
  EXPECT_EQ(none, Frames(Spec({{.name = "one", .strength = 0}})));
  auto plain = Load(model_.path(), "");
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_EQ((*plain)->model().numerics_id, engine_->model().numerics_id);
  EXPECT_EQ(none, RunJobs(**plain, {MakeJob(Spec({}))}, 1, 1)[0].bytes);
}

TEST_F(LoraEngineTest, RefusesSpecsByName) {
  const auto refused = [&](std::vector<AdapterUse> adapters, const std::string& why) {
    const absl::Status status = Open(Spec(std::move(adapters)));
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(why));
  };
  refused({{.name = "three"}}, "none of the name \"three\"");
  refused({{.name = "one"}, {.name = "one"}}, "\"one\" is given twice");
  refused({{.name = "one", .strength = NAN}}, "strength of \"one\"");
  refused({{.name = "one", .strength = 101}}, "strength of \"one\"");
  refused(std::vector<AdapterUse>(9, {.name = "one"}), "more than 8");
  const absl::Status other = Open(Spec({{.name = "one", .strength = 1, .digest = "0123456789abcdef"}}));
  EXPECT_TRUE(absl::IsFailedPrecondition(other)) << other;
  EXPECT_THAT(std::string(other.message()), HasSubstr("\"one\" has the digest 0123456789abcdef"));
}

// Makes the first block and saves the session.
Bytes SavedBlock(Engine& engine, SessionId id) {
  const auto run = [&](PassKind kind) {
    PassResult result = RunPass(engine, {.kind = kind, .session = id, .prompt = "a big red ball"});
    EXPECT_TRUE(result.status.ok()) << result.status;
    return result;
  };
  run(PassKind::kEncodePrompt);
  while (engine.progress(id)->steps > engine.progress(id)->step) run(PassKind::kDenoise);
  run(PassKind::kCommit);
  return run(PassKind::kSave).checkpoint;
}

TEST_F(LoraEngineTest, CheckpointsBelongToTheAdaptersFiles) {
  const SessionSpec spec = Spec({{.name = "one", .strength = 0.5}});
  const SessionId id = *engine_->OpenSession(spec);
  const SessionSpec told = engine_->progress(id)->spec;
  EXPECT_EQ(told.adapters[0].digest, engine_->model().adapters[0].digest);
  const Bytes checkpoint = SavedBlock(*engine_, id);
  engine_->CloseSession(id);
  EXPECT_LE(checkpoint.size(), engine_->model().max_checkpoint_bytes);
  EXPECT_TRUE(engine_->CheckCheckpoint(spec, checkpoint).ok()) << engine_->CheckCheckpoint(spec, checkpoint);
  const auto refused = [&](Engine& engine, const SessionSpec& other, const std::string& why) {
    const absl::Status status = engine.CheckCheckpoint(other, checkpoint);
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(why));
  };
  refused(*engine_, Spec({}), "list of adapters is one=0.5 (");
  refused(*engine_, Spec({{.name = "one", .strength = 0.50000001}}), "strength of an adapter differs");
  refused(*engine_, Spec({{.name = "two", .strength = 0.5}}), "that here is two=0.5 (");
  // Another server, where another file has the name.
  const TempFolder others;
  others.Write("one.safetensors", LoraFile(TinyAdapter(2, 8)));
  auto other = Load(model_.path(), others.path());
  ASSERT_TRUE(other.ok()) << other.status();
  refused(**other, spec, "list of adapters");
  refused(**other, told, "adapters: \"one\" has the digest");
}

TEST_F(LoraEngineTest, RefusesWhatComputesWithoutAdapters) {
  EXPECT_THAT(std::string(Load(model_.path(), model_.path() + "/missing").status().message()),
              HasSubstr("missing: the folder of adapters"));
  const TempFolder broken;
  broken.Write("bad.safetensors", LoraFile({{"transformer.x.lora_A.weight", {{1, 1}, {0}}}}));
  EXPECT_THAT(std::string(Load(model_.path(), broken.path()).status().message()),
              HasSubstr("bad.safetensors: tensor 'transformer.x.lora_A.weight' is of a layer that the model does not"));
}

}  // namespace
}  // namespace longtake
