// The engine on the cuda backend, on the host's emulation or (scripts/gpu.sh) on a device: bytes in any mix, memory,
// what a device cannot do.
#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>

#include "engine/engine.h"
#include "engine/runtime/device_group.h"
#include "engine/runtime/load.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/engine_driver.h"
#include "tests/engine/temp_folder.h"

namespace longtake {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr char kBundled[] = "models/longtake-tiny";
constexpr Size kLarge{64, 32}, kSmall{32, 32};

// The bundled model at sizes that the emulation decodes in a second.
std::string Variant(const TempFolder& folder, const std::string& more) {
  for (const char* part : {"transformer", "vae", "text_encoder", "tokenizer"}) {
    std::filesystem::create_directory_symlink(std::filesystem::absolute(std::string(kBundled) + "/" + part),
                                              folder.path() + "/" + part);
  }
  std::ofstream(folder.path() + "/longtake.json")
      << R"({"lower_case":true,"caption_tokens":28,"sizes":["64x32","32x32"],"max_latent_frames":64,)" << more << "}";
  return folder.path();
}
constexpr char kFewStep[] = R"("sampler":"few_step","timesteps":[1000,500],"shift":1.0,"block_latent_frames":1)";

absl::StatusOr<std::unique_ptr<Engine>> Load(const std::string& folder, const std::string& dtype = "auto",
                                             int sessions = 3, std::vector<int> devices = {0}) {
  return Engine::Load({.model_dir = folder,
                       .backend = "cuda",
                       .dtype = dtype,
                       .devices = std::move(devices),
                       .max_sessions = sessions});
}

const std::vector<Job>& Jobs() {
  static const std::vector<Job> jobs = {
      {.spec = {kLarge, 1, 11}, .prompt = "a big red ball"},
      {.spec = {kSmall, 2, 12},
       .prompt = "a small yellow star moves left",
       .switch_block = 1,
       .next_prompt = "a blue box",
       .join_tick = 2},
      {.spec = {kSmall, 1, 13}, .prompt = "a blue box", .join_tick = 1},
  };
  return jobs;
}

void ExpectEqualAloneAndTogether(Engine& engine, const std::vector<Job>& jobs) {
  const std::vector<Made> together = RunJobs(engine, jobs, 0.8, 5);
  for (size_t i = 0; i < jobs.size(); ++i) {
    Job job = jobs[i];
    job.join_tick = 0;
    const Made alone = RunJobs(engine, {job}, 1.0, 0)[0];
    EXPECT_EQ(alone.frames, 1 + 4 * (job.spec.latent_frames - 1));
    EXPECT_EQ(alone.bytes, together[i].bytes) << "job " << i;
  }
}

TEST(CudaEngine, BytesAreEqualAloneAndInAnyMix) {
  for (const char* dtype : {"auto", "float8"}) {
    SCOPED_TRACE(dtype);
    const TempFolder folder;
    const auto engine = Load(Variant(folder, kFewStep), dtype);
    if (absl::IsInvalidArgument(engine.status())) continue;  // a type that this device lacks
    ASSERT_TRUE(engine.ok()) << engine.status();
    EXPECT_THAT((*engine)->model().numerics_id, HasSubstr("cuda/"));
    ExpectEqualAloneAndTogether(**engine, Jobs());
  }
}

// A video that begins with a picture, beside one that does not.
TEST(CudaEngine, FirstImagesChangeNoOtherBytes) {
  for (const char* use : {"held", "prefix"}) {
    SCOPED_TRACE(use);
    const TempFolder folder;
    const auto engine = Load(Variant(folder, std::string(kFewStep) + R"(,"first_image":")" + use + '"'));
    ASSERT_TRUE(engine.ok()) << engine.status();
    std::vector<Job> jobs = {Jobs()[0], Jobs()[1]};
    FirstImage image;
    for (int i = 0; i < 3 * kSmall.width * kSmall.height; ++i) image.rgb.push_back(static_cast<uint8_t>(i / 12));
    jobs[1].spec.first_image = std::make_shared<const FirstImage>(std::move(image));
    ExpectEqualAloneAndTogether(**engine, jobs);
  }
}

// Float8 and float4 are other numbers, and neither is noise: frames stay near bfloat16's. A first frame of six seeds:
// in one alone float8 may be further off by chance (seen: 4.3 levels against 2.6, for words that the model does not
// know).
TEST(CudaEngine, NarrowTypesStayNearBfloat16) {
  std::vector<Job> jobs;
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    jobs.push_back({.spec = {kLarge, 1, seed}, .prompt = "a red ball moves left over the sea by day"});
  }
  std::map<std::string, std::vector<uint8_t>> frames;
  for (const char* dtype : {"bfloat16", "float8", "nvfp4"}) {
    const TempFolder folder;
    const auto engine = Load(Variant(folder, kFewStep), dtype, 6);
    if (absl::IsInvalidArgument(engine.status())) continue;  // a type that this device lacks
    ASSERT_TRUE(engine.ok()) << engine.status();
    for (const Made& made : RunJobs(**engine, jobs, 1.0, 0)) {
      frames[dtype].insert(frames[dtype].end(), made.bytes.begin(), made.bytes.end());
    }
  }
  const std::vector<uint8_t>& expected = frames.at("bfloat16");
  std::map<std::string, double> difference;  // mean, of 219 levels; unrelated pictures differ by 40 and more
  for (const auto& [dtype, made] : frames) {
    ASSERT_EQ(made.size(), expected.size());
    double sum = 0;
    for (size_t at = 0; at < made.size(); ++at) sum += std::abs(int{expected[at]} - int{made[at]});
    difference[dtype] = sum / static_cast<double>(made.size());
    if (dtype == "bfloat16") continue;
    EXPECT_GT(difference[dtype], 0) << dtype;
    EXPECT_LT(difference[dtype], 25) << dtype;
  }
  if (frames.size() == 3) {
    EXPECT_GT(difference["nvfp4"], difference["float8"]);
  }
}

// On the emulation CTest says LONGTAKE_EMULATION_DEVICES=2.
TEST(CudaEngine, SessionsShareTheDevices) {
  const TempFolder folder;
  const auto one = Load(Variant(folder, kFewStep), "auto", 4);
  const auto two = Load(folder.path(), "auto", 3, {0, 1});
  if (two.status().code() == absl::StatusCode::kNotFound) GTEST_SKIP() << two.status();
  ASSERT_TRUE(one.ok() && two.ok()) << one.status() << two.status();
  for (const MemoryRegion& region : (*two)->memory()) {
    EXPECT_TRUE(region.slots == 0 || region.slots == 4) << region.name;  // two on each
  }
  // The same job on each device, in one batch: four sessions fill the slots, a fifth finds none.
  const std::vector<Job> jobs(4, Jobs()[2]);
  const std::vector<Made> made = RunJobs(**two, jobs, 0.8, 3);
  const Made expected = RunJobs(**one, {Jobs()[2]}, 1.0, 0)[0];
  for (const Made& m : made) EXPECT_EQ(m.bytes, expected.bytes);

  std::vector<SessionId> ids;
  for (int i = 0; i < 4; ++i) {
    const auto id = (*two)->OpenSession(Jobs()[2].spec);
    ASSERT_TRUE(id.ok()) << id.status();
    ids.push_back(*id);
  }
  EXPECT_EQ((*two)->OpenSession(Jobs()[2].spec).status().code(), absl::StatusCode::kResourceExhausted);
  (*two)->CloseSession(ids[1]);
  (*two)->CloseSession(ids[1]);  // twice is once
  const auto again = (*two)->OpenSession(Jobs()[2].spec);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ((*two)->OpenSession(Jobs()[2].spec).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ((*two)->OpenSession({{33, 33}, 1, 1}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Load(folder.path(), "auto", 2, {0, 0}).status().code(), absl::StatusCode::kInvalidArgument);
}

// Jobs of three blocks on two devices, at each block on the other one, their decoder's caches parked in between.
TEST(CudaEngine, MovesChangeNoByte) {
  const TempFolder folder;
  Variant(folder, kFewStep);
  std::vector<std::unique_ptr<MovableEngine>> members;
  for (int device = 0; device < 2; ++device) {
    auto member = LoadSlotEngine({.model_dir = folder.path(), .backend = "cuda", .decoder_cache_slots = 1}, device, 2);
    if (absl::IsNotFound(member.status())) GTEST_SKIP() << member.status();
    ASSERT_TRUE(member.ok()) << member.status();
    members.push_back(*std::move(member));
  }
  const Job job{.spec = {kSmall, 3, 5}, .prompt = "a pink star", .switch_block = 2, .next_prompt = "a blue box"};
  const Made alone = RunJobs(*members[0], {job}, 1.0, 0)[0];
  const auto group = MakeDeviceGroup(std::move(members), [](const MoveQuestion& q) { return 1 - q.from; });
  ASSERT_TRUE(group.ok()) << group.status();
  for (const Made& made : RunJobs(**group, {job, job}, 0.7, 3)) EXPECT_EQ(made.bytes, alone.bytes);
  EXPECT_GT((*group)->moves().count, 2u);
}

// A session saved in one lane while the other makes its next block, and restored in the other slot, on whose caches'
// slot it then takes turns.
TEST(CudaEngine, ARestoredSessionGoesOnAsTheSavedOne) {
  const TempFolder folder;
  const auto engine = Engine::Load(
      {.model_dir = Variant(folder, kFewStep), .backend = "cuda", .max_sessions = 2, .decoder_cache_slots = 1});
  ASSERT_TRUE(engine.ok()) << engine.status();
  const auto run = [&](SessionId id, PassKind kind) {
    PassResult result = RunPass(**engine, {.kind = kind, .session = id, .prompt = "a pink star"});
    EXPECT_TRUE(result.status.ok()) << result.status;
    return result;
  };
  const auto finish = [&](SessionId id) {
    std::vector<uint8_t> bytes;
    for (SessionProgress at = *(*engine)->progress(id);; at = *(*engine)->progress(id)) {
      if (at.decoded_latents < at.committed_frames) {
        const DecodedFrames frames = run(id, PassKind::kDecode).frames;
        bytes.insert(bytes.end(), frames.bytes.begin(), frames.bytes.end());
      } else if (at.block == at.blocks) {
        return bytes;
      } else {
        run(id, at.step < at.steps ? PassKind::kDenoise : PassKind::kCommit);
      }
    }
  };
  const SessionSpec spec{kSmall, 3, 5};
  const SessionId saved = *(*engine)->OpenSession(spec);
  for (const PassKind kind : {PassKind::kEncodePrompt, PassKind::kDenoise, PassKind::kDenoise, PassKind::kCommit,
                              PassKind::kDecode, PassKind::kDenoise, PassKind::kDenoise, PassKind::kCommit}) {
    run(saved, kind);
  }
  std::vector<std::byte> checkpoint;
  Countdown left(2);
  const auto done = [&](size_t, PassResult result) {
    EXPECT_TRUE(result.status.ok()) << result.status;
    if (!result.checkpoint.empty()) checkpoint = std::move(result.checkpoint);
    left.Done();
  };
  (*engine)->Submit(Lane::kDecoder, {{.kind = PassKind::kSave, .session = saved}}, done);
  (*engine)->Submit(Lane::kTransformer, {{.kind = PassKind::kDenoise, .session = saved}}, done);
  left.Wait();
  EXPECT_LE(checkpoint.size(), (*engine)->model().max_checkpoint_bytes);
  const SessionId restored = *(*engine)->OpenSession(spec);
  const PassResult result =
      RunPass(**engine, {.kind = PassKind::kRestore, .session = restored, .checkpoint = std::move(checkpoint)});
  ASSERT_TRUE(result.status.ok()) << result.status;
  const std::vector<uint8_t> expected = finish(saved);
  EXPECT_EQ(expected.size(), size_t{8} * 32 * 32 * 3 / 2);
  EXPECT_EQ(finish(restored), expected);
}

// Of two devices one fails: its session ends, the other's goes on, and new ones find the device that is left.
TEST(CudaEngine, AFailedDeviceTakesItsSessionsOnly) {
  const TempFolder folder;
  const auto engine = Load(Variant(folder, kFewStep), "auto", 4, {0, 1});
  if (absl::IsNotFound(engine.status())) GTEST_SKIP() << engine.status();
  ASSERT_TRUE(engine.ok()) << engine.status();
  void* library = dlopen("longtake-cuda.so", RTLD_NOW | RTLD_NOLOAD);
  const auto fail =
      reinterpret_cast<void (*)(int, bool)>(library == nullptr ? nullptr : dlsym(library, "LongtakeEmulationFail"));
  if (fail == nullptr) GTEST_SKIP() << "a device is not made to fail";
  const auto open = [&] { return (*engine)->OpenSession(Jobs()[2].spec); };
  const SessionId stays = *open(), goes = *open();
  for (const SessionId id : {stays, goes}) {
    ASSERT_TRUE(RunPass(**engine, {PassKind::kEncodePrompt, id, "a blue box"}).status.ok());
  }
  fail(1, true);
  EXPECT_EQ(RunPass(**engine, {PassKind::kDenoise, goes}).status.code(), absl::StatusCode::kInternal);
  EXPECT_TRUE(RunPass(**engine, {PassKind::kDenoise, stays}).status.ok());
  (*engine)->CloseSession(goes);
  const auto another = open();
  ASSERT_TRUE(another.ok()) << another.status();
  EXPECT_TRUE(RunPass(**engine, {PassKind::kEncodePrompt, *another, "a blue box"}).status.ok());
  EXPECT_EQ(open().status().code(), absl::StatusCode::kResourceExhausted);
  (*engine)->CloseSession(stays);
  (*engine)->CloseSession(*another);
  fail(0, true);
  const auto last = open();  // nobody has noticed yet
  ASSERT_TRUE(last.ok()) << last.status();
  EXPECT_FALSE(RunPass(**engine, {PassKind::kEncodePrompt, *last, "a blue box"}).status.ok());
  EXPECT_EQ(open().status().code(), absl::StatusCode::kUnavailable);
  fail(0, false);
  fail(1, false);
}

TEST(CudaEngine, ParkedDecoderCachesChangeNoByte) {
  const TempFolder folder;
  const auto engine = Load(Variant(folder, kFewStep), "auto", 1);
  auto parking = Engine::Load(
      {.model_dir = folder.path(), .backend = "cuda", .dtype = "auto", .max_sessions = 2, .decoder_cache_slots = 1});
  ASSERT_TRUE(engine.ok() && parking.ok()) << engine.status() << parking.status();
  const Job job{.spec = {kSmall, 2, 5}, .prompt = "a pink star"};
  const Made alone = RunJobs(**engine, {job}, 1.0, 0)[0];
  for (const Made& made : RunJobs(**parking, {job, job}, 1.0, 0)) EXPECT_EQ(made.bytes, alone.bytes);
}

// Each block's decoding is submitted and left to itself while the next block is denoised; it is waited for before that
// block's commit, which asks for it.
TEST(CudaEngine, DecodingBesideDenoisingChangesNoByte) {
  const TempFolder folder;
  Variant(folder, kFewStep);
  std::vector<std::vector<uint8_t>> videos;
  for (const bool beside : {false, true}) {
    const auto loaded = Engine::Load({.model_dir = folder.path(),
                                      .backend = "cuda",
                                      .dtype = "auto",
                                      .max_sessions = 1,
                                      .overlap_decoding = beside});
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    Engine& engine = **loaded;
    EXPECT_EQ(engine.lanes_overlap(), beside);
    std::vector<uint8_t>& video = videos.emplace_back();
    const SessionId id = *engine.OpenSession({kSmall, 3, 5});
    const auto run = [&](PassKind kind) { return RunPass(engine, {kind, id, "a pink star"}).status; };
    ASSERT_TRUE(run(PassKind::kEncodePrompt).ok());
    std::unique_ptr<Countdown> decoding;
    for (int block = 0; block < 4; ++block) {
      for (int step = 0; block < 3 && step < 2; ++step) ASSERT_TRUE(run(PassKind::kDenoise).ok());
      if (decoding != nullptr) decoding->Wait();
      if (block == 3) break;
      ASSERT_TRUE(run(PassKind::kCommit).ok());
      decoding = std::make_unique<Countdown>(1);
      engine.Submit(Lane::kDecoder, {{.kind = PassKind::kDecode, .session = id}}, [&](size_t, PassResult result) {
        EXPECT_TRUE(result.status.ok()) << result.status;
        video.insert(video.end(), result.frames.bytes.begin(), result.frames.bytes.end());
        decoding->Done();
      });
    }
    EXPECT_EQ(engine.progress(id)->decoded_latents, 3);
  }
  EXPECT_EQ(videos[0].size(), 9u * 32 * 32 * 3 / 2);
  EXPECT_EQ(videos[0], videos[1]);
}

// Passes of one, two and three sessions, denoising and committing, launched as they are and as graphs.
TEST(CudaEngine, GraphsChangeNoByte) {
  const TempFolder folder;
  const auto plain = Load(Variant(folder, kFewStep));
  const auto graphs = Engine::Load(
      {.model_dir = folder.path(), .backend = "cuda", .dtype = "auto", .max_sessions = 3, .cuda_graphs = true});
  ASSERT_TRUE(plain.ok() && graphs.ok()) << plain.status() << graphs.status();
  const std::vector<Job> jobs = {Jobs()[2], {.spec = {kSmall, 2, 12}, .prompt = "a small yellow star"}, Jobs()[2]};
  const std::vector<Made> expected = RunJobs(**plain, jobs, 1.0, 0), made = RunJobs(**graphs, jobs, 0.8, 5);
  for (size_t i = 0; i < jobs.size(); ++i) EXPECT_EQ(made[i].bytes, expected[i].bytes) << "job " << i;
}

TEST(CudaEngine, MemoryStaysAsPlanned) {
  const TempFolder folder;
  const auto engine = Load(Variant(folder, kFewStep), "auto", 1);
  ASSERT_TRUE(engine.ok()) << engine.status();
  const auto planned = (*engine)->memory();
  RunJobs(**engine, {Jobs()[2]}, 1.0, 0);
  const auto after = (*engine)->memory();
  ASSERT_EQ(planned.size(), after.size());
  for (size_t i = 0; i < planned.size(); ++i) {
    EXPECT_EQ(planned[i].planned_bytes, after[i].planned_bytes) << planned[i].name;
    EXPECT_LE(after[i].used_bytes, after[i].planned_bytes) << planned[i].name;
  }
}

TEST(CudaEngine, RefusesWhatADeviceCannot) {
  const TempFolder folder;
  const std::string path = Variant(folder, kFewStep);
  const absl::Status type = Load(path, "float32").status();
  EXPECT_EQ(type.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(type.message()), StartsWith("dtype:"));
  const absl::Status device = Load(path, "auto", 1, {7}).status();
  EXPECT_EQ(device.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(device.message()), StartsWith("device:"));
  const auto small = Load(path, "auto", 1);
  ASSERT_TRUE(small.ok()) << small.status();
  if ((*small)->model().numerics_id.find("emulation") == std::string::npos) return;  // a device may hold them
  const absl::Status memory = Load(path, "auto", 4096).status();
  EXPECT_EQ(memory.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(memory.message()), StartsWith("max_sessions:"));
}

}  // namespace
}  // namespace longtake
