// The engine on the bundled model: bytes in any mix, order of passes, slots, memory over a minute.
#include "engine/engine.h"

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/engine_driver.h"
#include "tests/engine/engine_mixes.h"
#include "tests/engine/process_memory.h"
#include "tests/engine/temp_folder.h"

namespace longtake {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

std::unique_ptr<Engine> Load(const std::string& folder, const std::string& dtype = "auto", int threads = 2,
                             int sessions = 6, const std::string& isa = "auto") {
  auto engine =
      Engine::Load({.model_dir = folder, .dtype = dtype, .isa = isa, .threads = threads, .max_sessions = sessions});
  EXPECT_TRUE(engine.ok()) << engine.status();
  return engine.ok() ? *std::move(engine) : nullptr;
}

TEST(EngineBytes, AreEqualAloneAndInAnyMix) {
  const TempFolder folder;
  const auto engine = Load(Variant(folder, kTwoSizes));
  ASSERT_NE(engine, nullptr);
  ExpectEqualInAnyMix(*engine, *engine, Mix(), 4);
}

TEST(EngineBytes, AreEqualAtAnyThreadCount) {
  const TempFolder folder;
  Variant(folder, kTwoSizes);
  for (const char* dtype : {"float32", "auto"}) {
    const auto one = Load(folder.path(), dtype, 1), three = Load(folder.path(), dtype, 3);
    ASSERT_TRUE(one != nullptr && three != nullptr);
    EXPECT_EQ(one->model().numerics_id, three->model().numerics_id);
    ExpectEqualInAnyMix(*one, *three, Mix(), 1);
  }
}

TEST(EngineBytes, AreEqualInAnyMixUnderEachInstructionSet) {
  const TempFolder folder;
  Variant(folder, kTwoSizes);
  for (const char* isa : {"avx2", "avx512"}) {
    auto engine =
        Engine::Load({.model_dir = folder.path(), .dtype = "float32", .isa = isa, .threads = 2, .max_sessions = 6});
    if (absl::IsInvalidArgument(engine.status())) continue;  // a cap above what the machine has
    ASSERT_TRUE(engine.ok()) << engine.status();
    EXPECT_THAT((*engine)->model().numerics_id, HasSubstr(isa));
    ExpectEqualInAnyMix(**engine, **engine, Mix(), 1);
  }
}

TEST(EngineBytes, AreEqualInAnyMixWithGuidanceAndARunningSum) {
  const TempFolder folder;
  const auto engine = Load(Variant(folder, kRunningSum));
  ASSERT_NE(engine, nullptr);
  EXPECT_TRUE(engine->model().accepts_negative_prompt);
  ExpectEqualInAnyMix(*engine, *engine, Mix(), 2);
}

TEST(EngineBytes, AreEqualInAnyMixOfABidirectionalModel) {
  for (const auto& [settings, sampler] : {std::pair{kBidirectional, "flow_dpm_solver"}, {kUniPc, "flow_unipc"}}) {
    const TempFolder folder;
    const auto engine = Load(Variant(folder, settings));
    ASSERT_NE(engine, nullptr);
    EXPECT_EQ(engine->model().sampler, sampler);
    EXPECT_EQ(engine->model().block_latent_frames, 0);
    EXPECT_FALSE(engine->model().switches_prompt);
    ExpectEqualInAnyMix(*engine, *engine,
                        {{.spec = {kSmall, 6, 1}, .prompt = "a red ball"},
                         {.spec = {kSmall, 2, 2}, .prompt = "a blue box", .join_tick = 2}},
                        2);
  }
}

// Fewer places for decoder caches than sessions: they come and go between latent frames, and no byte changes.
TEST(EngineBytes, AreEqualWithParkedDecoderCaches) {
  const TempFolder folder;
  const auto engine = Load(Variant(folder, kTwoSizes));
  auto parking = Engine::Load({.model_dir = folder.path(), .threads = 2, .max_sessions = 6, .decoder_cache_slots = 2});
  ASSERT_TRUE(parking.ok()) << parking.status();
  ExpectEqualInAnyMix(*engine, **parking, Mix(), 2);
  uint64_t all = 0, on_device = 0, parked = 0;
  for (const MemoryRegion& region : engine->memory()) all += region.name == "decoder_cache" ? region.planned_bytes : 0;
  for (const MemoryRegion& region : (*parking)->memory()) {
    if (region.name == "decoder_cache") on_device = region.planned_bytes;
    if (region.name == "decoder_cache_host") parked = region.planned_bytes;
  }
  EXPECT_EQ(on_device, all / 3);
  EXPECT_GE(parked, all);
}

// Infinite where the sizes differ.
double MeanDifference(const std::vector<uint8_t>& a, const std::vector<uint8_t>& b) {
  if (a.size() != b.size()) return HUGE_VAL;
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::abs(int{a[i]} - int{b[i]});
  return sum / static_cast<double>(a.size());
}

// Each part's type acts, decodes still take turns with the other passes, and no operation exceeds its planned scratch.
TEST(EngineBytes, AreEqualInAnyMixWithANumberTypeForEachPart) {
  const TempFolder folder;
  const auto plain = Load(Variant(folder, kTwoSizes));
  ASSERT_NE(plain, nullptr);
  if (!plain->model().numerics_id.ends_with("/bfloat16")) GTEST_SKIP() << "this machine has no bfloat16";
  const Job job{.spec = {kSmall, 3, 12}, .prompt = "a small yellow star moves left"};
  std::vector<std::vector<uint8_t>> made = {RunJobs(*plain, {job}, 1.0, 0)[0].bytes};
  struct Types {
    const char *dtype, *text, *vae, *id;
  };
  for (const Types& types : {Types{"bfloat16", "auto", "float32", "/bfloat16/vae-float32"},
                             Types{"bfloat16", "float32", "auto", "/bfloat16/text-float32"},
                             Types{"float32", "bfloat16", "bfloat16", "/float32/text-bfloat16/vae-bfloat16"}}) {
    const auto engine = Engine::Load({.model_dir = folder.path(),
                                      .dtype = types.dtype,
                                      .text_dtype = types.text,
                                      .vae_dtype = types.vae,
                                      .threads = 2,
                                      .max_sessions = 6});
    ASSERT_TRUE(engine.ok()) << engine.status();
    EXPECT_THAT((*engine)->model().numerics_id, EndsWith(types.id));
    EXPECT_FALSE((*engine)->lanes_overlap());
    made.push_back(RunJobs(**engine, {job}, 1.0, 0)[0].bytes);
    ExpectEqualInAnyMix(**engine, **engine, Mix(), 1);
    for (const MemoryRegion& region : (*engine)->memory()) EXPECT_LE(region.used_bytes, region.planned_bytes);
  }
  for (size_t i = 0; i < made.size(); ++i) {
    for (size_t k = 0; k < i; ++k) {
      EXPECT_NE(made[i], made[k]) << i << " " << k;
      EXPECT_LT(MeanDifference(made[i], made[k]), 2.0) << i << " " << k;  // of 255
    }
  }
}

// Of transformer and text encoder; the pictures are nearly those of float32.
TEST(EngineBytes, AreEqualInAnyMixWithInt8) {
  const TempFolder folder;
  const auto plain = Load(Variant(folder, kTwoSizes));
  ASSERT_NE(plain, nullptr);
  const Job job{.spec = {kSmall, 3, 12}, .prompt = "a small yellow star moves left"};
  const std::vector<uint8_t> expected = RunJobs(*plain, {job}, 1.0, 0)[0].bytes;
  const auto engine = Engine::Load(
      {.model_dir = folder.path(), .dtype = "int8", .text_dtype = "int8", .threads = 2, .max_sessions = 6});
  if (absl::IsInvalidArgument(engine.status())) GTEST_SKIP() << engine.status();
  ASSERT_TRUE(engine.ok()) << engine.status();
  EXPECT_THAT((*engine)->model().numerics_id, testing::AllOf(HasSubstr("/int8/"), HasSubstr("/text-int8")));
  const std::vector<uint8_t> made = RunJobs(**engine, {job}, 1.0, 0)[0].bytes;
  ExpectEqualInAnyMix(**engine, **engine, Mix(), 1);
  for (const MemoryRegion& region : (*engine)->memory()) EXPECT_LE(region.used_bytes, region.planned_bytes);
  EXPECT_NE(made, expected);
  EXPECT_LT(MeanDifference(made, expected), 4.0);  // of 255
}

TEST(EngineBytes, FollowTheSeedAndThePrompt) {
  const auto engine = Load(kBundled);
  ASSERT_NE(engine, nullptr);
  const Job job{.spec = {kLarge, 4, 1}, .prompt = "a red ball above the meadow under a blue sky"};
  Job other_seed = job, other_prompt = job;
  other_seed.spec.seed = 2;
  other_prompt.prompt = "a red ball above the snow under a night sky";
  const auto made = RunJobs(*engine, {job, job, other_seed, other_prompt}, 1.0, 0);
  EXPECT_EQ(made[0].bytes, made[1].bytes);
  EXPECT_NE(made[0].bytes, made[2].bytes);
  EXPECT_NE(made[0].bytes, made[3].bytes);
}

TEST(EnginePasses, OutOfOrderAreRefusedAndChangeNothing) {
  const auto engine = Load(kBundled, "auto", 2, 1);
  ASSERT_NE(engine, nullptr);
  const SessionId id = *engine->OpenSession({kLarge, 9, 5});
  const auto refused = [&](PassKind kind) {
    return absl::IsFailedPrecondition(RunPass(*engine, {kind, id, "x"}).status);
  };
  const auto runs = [&](PassKind kind) { return RunPass(*engine, {kind, id, "a red ball"}).status.ok(); };
  EXPECT_TRUE(refused(PassKind::kDenoise));  // no prompt
  EXPECT_TRUE(runs(PassKind::kEncodePrompt));
  EXPECT_TRUE(refused(PassKind::kCommit));
  EXPECT_TRUE(refused(PassKind::kDecode));
  const int steps = engine->model().denoise_steps;
  for (int i = 0; i < steps; ++i) EXPECT_TRUE(runs(PassKind::kDenoise));
  EXPECT_TRUE(refused(PassKind::kDenoise));
  EXPECT_EQ(engine->progress(id)->step, steps);
  EXPECT_TRUE(runs(PassKind::kCommit));
  EXPECT_EQ(engine->progress(id)->committed_frames, 5);  // 9 = 5 + 4
  for (int i = 0; i < steps; ++i) EXPECT_TRUE(runs(PassKind::kDenoise));
  EXPECT_TRUE(refused(PassKind::kCommit));  // the block before is not decoded
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(runs(PassKind::kDecode));
  EXPECT_TRUE(refused(PassKind::kDecode));
  EXPECT_TRUE(runs(PassKind::kCommit));
  EXPECT_EQ(engine->progress(id)->block, 2);
  EXPECT_TRUE(refused(PassKind::kDenoise));  // all made
  EXPECT_TRUE(absl::IsNotFound(RunPass(*engine, {PassKind::kDenoise, id + 1, ""}).status));
}

TEST(EnginePasses, APromptSaysHowMuchOfItIsUsed) {
  const auto engine = Load(kBundled, "auto", 1, 1);
  ASSERT_NE(engine, nullptr);
  const SessionId id = *engine->OpenSession({kLarge, 1, 5});
  const PassResult fits = RunPass(*engine, {PassKind::kEncodePrompt, id, "a red ball"});
  EXPECT_GT(fits.prompt_tokens, 2);
  EXPECT_EQ(fits.prompt_tokens_used, fits.prompt_tokens);
  std::string much;
  for (int i = 0; i < 60; ++i) much += "a red ball ";
  const PassResult cut = RunPass(*engine, {PassKind::kEncodePrompt, id, much});
  EXPECT_EQ(cut.prompt_tokens_used, 39);  // caption_tokens is 40, and the first one is not the prompt's
  EXPECT_GT(cut.prompt_tokens, 120);
}

// The prompt that waits is still the first one, although the second one's text was good.
TEST(EnginePasses, ARefusedNegativePromptChangesNothing) {
  const TempFolder folder;
  const auto engine = Load(Variant(folder, kRunningSum), "auto", 1, 1);
  ASSERT_NE(engine, nullptr);
  const auto make = [&](bool refused_between) {
    const SessionId id = *engine->OpenSession({kSmall, 1, 5});
    EXPECT_TRUE(RunPass(*engine, {PassKind::kEncodePrompt, id, "a red ball", "a box"}).status.ok());
    if (refused_between) {
      const Pass bad{PassKind::kEncodePrompt, id, "a green star above the sea", "\xff"};
      EXPECT_TRUE(absl::IsInvalidArgument(RunPass(*engine, bad).status));
    }
    for (int i = 0; i < engine->model().denoise_steps; ++i) {
      EXPECT_TRUE(RunPass(*engine, {PassKind::kDenoise, id}).status.ok());
    }
    EXPECT_TRUE(RunPass(*engine, {PassKind::kCommit, id}).status.ok());
    std::vector<uint8_t> bytes = RunPass(*engine, {PassKind::kDecode, id}).frames.bytes;
    engine->CloseSession(id);
    return bytes;
  };
  EXPECT_EQ(make(true), make(false));
}

TEST(EnginePasses, ABlockMayHaveTheLaddersFewerSteps) {
  const auto engine = Load(kBundled, "auto", 2, 1);
  ASSERT_NE(engine, nullptr);
  const std::vector<int>& ladder = engine->model().step_ladder;
  ASSERT_GE(ladder.size(), 2u);
  EXPECT_EQ(ladder[0], engine->model().denoise_steps);
  const auto make = [&](int level) {
    const SessionId id = *engine->OpenSession({kLarge, 5, 5});
    EXPECT_TRUE(RunPass(*engine, {PassKind::kEncodePrompt, id, "a red ball"}).status.ok());
    for (int step = 0; step < ladder[level]; ++step) {
      EXPECT_TRUE(RunPass(*engine, {.kind = PassKind::kDenoise, .session = id, .level = level}).status.ok());
      EXPECT_EQ(engine->progress(id)->steps, ladder[level]);
    }
    EXPECT_TRUE(absl::IsFailedPrecondition(RunPass(*engine, {PassKind::kDenoise, id}).status));
    EXPECT_TRUE(RunPass(*engine, {PassKind::kCommit, id}).status.ok());
    std::vector<uint8_t> bytes = RunPass(*engine, {PassKind::kDecode, id}).frames.bytes;
    engine->CloseSession(id);
    return bytes;
  };
  const std::vector<uint8_t> fewer = make(1);
  EXPECT_NE(make(0), fewer);
  EXPECT_EQ(make(1), fewer);
  const SessionId id = *engine->OpenSession({kLarge, 5, 5});
  EXPECT_TRUE(RunPass(*engine, {PassKind::kEncodePrompt, id, "a red ball"}).status.ok());
  for (int level : {-1, static_cast<int>(ladder.size())}) {
    const absl::Status status = RunPass(*engine, {.kind = PassKind::kDenoise, .session = id, .level = level}).status;
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  }
}

TEST(EnginePasses, TwoOfASessionInOneLaneAreRefused) {
  const auto engine = Load(kBundled, "auto", 2, 1);
  ASSERT_NE(engine, nullptr);
  const SessionId id = *engine->OpenSession({kLarge, 5, 5});
  ASSERT_TRUE(RunPass(*engine, {PassKind::kEncodePrompt, id, "a red ball"}).status.ok());
  std::vector<absl::Status> statuses(2);
  Countdown left(2);
  engine->Submit(Lane::kTransformer, {{PassKind::kDenoise, id, "", ""}, {PassKind::kDenoise, id, "", ""}},
                 [&](size_t i, PassResult result) {
                   statuses[i] = result.status;
                   left.Done();
                 });
  left.Wait();
  EXPECT_TRUE(statuses[0].ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(statuses[1]));
}

// Also while another pass of the session is under way: the prompt and the step are one batch, the prompt goes first.
TEST(EnginePasses, AreInProgressWhenTheyComplete) {
  const auto engine = Load(kBundled, "auto", 2, 1);
  ASSERT_NE(engine, nullptr);
  const SessionId id = *engine->OpenSession({kLarge, 5, 5});
  std::vector<SessionProgress> at(2);
  Countdown left(2);
  engine->Submit(Lane::kTransformer,
                 {{PassKind::kEncodePrompt, id, "a red ball", ""}, {PassKind::kDenoise, id, "", ""}},
                 [&](size_t i, PassResult result) {
                   EXPECT_TRUE(result.status.ok()) << result.status;
                   at[i] = *engine->progress(id);
                   left.Done();
                 });
  left.Wait();
  EXPECT_TRUE(at[0].has_prompt);
  EXPECT_EQ(at[0].step, 0);
  EXPECT_EQ(at[1].step, 1);
}

TEST(EnginePasses, OfTheOtherLaneAreRefused) {
  const auto engine = Load(kBundled, "auto", 2, 1);
  ASSERT_NE(engine, nullptr);
  const SessionId id = *engine->OpenSession({kLarge, 5, 5});
  absl::Status status;
  Countdown left(1);
  engine->Submit(Lane::kDecoder, {{PassKind::kEncodePrompt, id, "a red ball"}}, [&](size_t, PassResult result) {
    status = result.status;
    left.Done();
  });
  left.Wait();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_FALSE(engine->progress(id)->has_prompt);
}

// For the thread sanitizer above all: progress() and memory() beside the engine's thread.
TEST(EnginePasses, MayBeWatchedFromAnotherThread) {
  const auto engine = Load(kBundled, "auto", 2, 1);
  ASSERT_NE(engine, nullptr);
  const SessionId id = *engine->OpenSession({kLarge, 5, 5});
  ASSERT_TRUE(RunPass(*engine, {PassKind::kEncodePrompt, id, "a red ball"}).status.ok());
  std::atomic<bool> ended = false;
  std::thread watcher([&] {
    for (int step = 0; !ended;) {
      const absl::StatusOr<SessionProgress> at = engine->progress(id);
      ASSERT_TRUE(at.ok());
      EXPECT_GE(at->step, step);
      step = at->step;
      EXPECT_EQ(engine->memory().back().slots_used, 1);
    }
  });
  for (int i = 0; i < engine->model().denoise_steps; ++i) {
    EXPECT_TRUE(RunPass(*engine, {PassKind::kDenoise, id}).status.ok());
  }
  ended = true;
  watcher.join();
}

TEST(EngineSessions, TakeAndReturnSlots) {
  const auto engine = Load(kBundled, "auto", 2, 2);
  ASSERT_NE(engine, nullptr);
  const auto used = [&] { return engine->memory().back().slots_used; };
  const SessionId first = *engine->OpenSession({kLarge, 9, 1});
  ASSERT_TRUE(engine->OpenSession({kLarge, 9, 1}).ok());
  EXPECT_EQ(used(), 2);
  EXPECT_TRUE(absl::IsResourceExhausted(engine->OpenSession({kLarge, 9, 1}).status()));
  engine->CloseSession(first);
  EXPECT_EQ(used(), 1);
  EXPECT_TRUE(absl::IsNotFound(engine->progress(first).status()));
  // A slot that another session left dirty gives the same bytes.
  const Job job{.spec = {kLarge, 5, 7}, .prompt = "a red ball"};
  const auto once = RunJobs(*engine, {job}, 1.0, 0)[0];
  EXPECT_EQ(RunJobs(*engine, {job}, 1.0, 0)[0].bytes, once.bytes);
}

TEST(EngineSessions, ClosedUnderAPassFreeTheirSlotAfterIt) {
  const auto engine = Load(kBundled, "auto", 2, 1);
  ASSERT_NE(engine, nullptr);
  const SessionId id = *engine->OpenSession({kLarge, 9, 1});
  ASSERT_TRUE(RunPass(*engine, {PassKind::kEncodePrompt, id, "a red ball"}).status.ok());
  absl::Status status = absl::UnknownError("");
  Countdown left(1);
  engine->Submit(Lane::kTransformer, {{PassKind::kDenoise, id, "", ""}}, [&](size_t, PassResult result) {
    status = result.status;
    left.Done();
  });
  engine->CloseSession(id);
  left.Wait();
  EXPECT_TRUE(status.ok()) << status;
  while (engine->memory().back().slots_used > 0) usleep(1000);
  EXPECT_TRUE(engine->OpenSession({kLarge, 9, 1}).ok());
}

TEST(EngineSessions, RefusalsNameTheField) {
  const auto engine = Load(kBundled, "auto", 2, 1);
  ASSERT_NE(engine, nullptr);
  EXPECT_THAT(engine->OpenSession({{250, 160}, 9, 1}).status().message(), HasSubstr("size"));
  EXPECT_THAT(engine->OpenSession({kLarge, 0, 1}).status().message(), HasSubstr("latent_frames"));
  EXPECT_THAT(engine->OpenSession({kLarge, 100000, 1}).status().message(), HasSubstr("latent_frames"));
}

TEST(EngineLoad, SaysWhatItChoseAndWhy) {
  std::vector<std::string> lines;
  const auto engine =
      Engine::Load({.model_dir = kBundled, .log = [&](const std::string& line) { lines.push_back(line); }});
  ASSERT_TRUE(engine.ok()) << engine.status();
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_THAT(lines[0], HasSubstr("threads: "));
  EXPECT_THAT(lines[0], HasSubstr("physical cores"));
  EXPECT_THAT(lines[1], HasSubstr("memory: 4 sessions"));
  EXPECT_THAT(lines[1], HasSubstr("MiB are left of"));
}

TEST(EngineLoad, RefusalsNameOptionFileOrField) {
  struct Case {
    EngineOptions options;
    const char* names;
  };
  const TempFolder bad_size, bad_field, too_large, long_block;
  // 4096 sessions of a window of 4096 blocks take 4096 * 4096 * 1.2 MB, which no machine has.
  Variant(too_large, R"({"sampler":"few_step","timesteps":[1000],"state_window_blocks":4096,"sizes":["256x160"]})");
  Variant(long_block, R"({"sampler":"few_step","timesteps":[1000],"sizes":["256x160"],"max_latent_frames":1025})");
  Variant(bad_size, R"({"sampler":"few_step","timesteps":[1000],"shift":1,"caption_tokens":28,"sizes":["100x100"]})");
  Variant(bad_field, R"({"sampler":"few_step","timesteps":[1000],"blocks":4})");
  for (const Case& c : std::vector<Case>{
           {{.model_dir = "/nonexistent"}, "/nonexistent"},
           {{.model_dir = kBundled, .backend = "gpu"}, "backend"},
           {{.model_dir = kBundled, .dtype = "int4"}, "dtype"},
           {{.model_dir = kBundled, .backend = "reference", .dtype = "float8"}, "dtype"},
           {{.model_dir = kBundled, .text_dtype = "float8"}, "text_dtype"},
           {{.model_dir = kBundled, .vae_dtype = "float16"}, "vae_dtype"},
           {{.model_dir = kBundled, .vae_dtype = "int8"}, "vae_dtype"},
           {{.model_dir = kBundled, .text_dtype = "int8", .isa = "avx2"}, "text_dtype: int8 needs isa avx512_vnni"},
           {{.model_dir = kBundled, .backend = "reference", .text_dtype = "int8"}, "text_dtype: reference"},
           {{.model_dir = kBundled, .backend = "reference", .vae_dtype = "bfloat16"}, "vae_dtype: reference"},
           {{.model_dir = kBundled, .vae_dtype = "bfloat16", .isa = "avx2"}, "vae_dtype"},
           {{.model_dir = kBundled, .isa = "neon"}, "isa"},
           {{.model_dir = kBundled, .threads = 1 << 30}, "threads"},
           {{.model_dir = kBundled, .max_sessions = 0}, "max_sessions"},
           {{.model_dir = too_large.path(), .max_sessions = 4096}, "max_sessions"},
           {{.model_dir = long_block.path()}, "max_latent_frames"},
           {{.model_dir = bad_size.path()}, "sizes"},
           {{.model_dir = bad_field.path()}, "blocks"}}) {
    const auto engine = Engine::Load(c.options);
    ASSERT_FALSE(engine.ok()) << c.names;
    EXPECT_THAT(engine.status().message(), HasSubstr(c.names));
  }
}

// The product's one fact: memory after a minute equals that after two seconds.
TEST(EngineMemory, IsFlatOverAMinute) {
  const auto engine = Load(kBundled, "auto", 2, 1);
  ASSERT_NE(engine, nullptr);
  const SessionId id = *engine->OpenSession({kLarge, 241, 3});  // 961 frames
  ASSERT_TRUE(RunPass(*engine, {PassKind::kEncodePrompt, id, "a red ball bounces above the meadow"}).status.ok());
  int64_t after_two_seconds = 0, frames = 0;
  const int steps = engine->model().denoise_steps;
  for (SessionProgress at = *engine->progress(id); at.block < at.blocks; at = *engine->progress(id)) {
    for (int step = 0; step < steps; ++step) ASSERT_TRUE(RunPass(*engine, {PassKind::kDenoise, id}).status.ok());
    ASSERT_TRUE(RunPass(*engine, {PassKind::kCommit, id}).status.ok());
    for (int i = 0; i < at.block_frames; ++i) {
      const PassResult result = RunPass(*engine, {PassKind::kDecode, id});
      ASSERT_TRUE(result.status.ok());
      frames += result.frames.count;
    }
    if (after_two_seconds == 0 && frames >= 32) after_two_seconds = AnonymousBytes();
  }
  EXPECT_EQ(frames, 961);
  // A page or two of the allocator's may move; 100 KB is a hundredth of one latent buffer times its blocks.
  if (!kSanitized) {
    EXPECT_LE(AnonymousBytes(), after_two_seconds + 100'000);
  }
}

}  // namespace
}  // namespace longtake
