// Saved sessions: restored in another engine or another process they make the frames that an undisturbed one makes;
// bytes that are torn, changed or another session's are refused and change nothing.
#include <stdlib.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/engine.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/engine_driver.h"
#include "tests/engine/engine_mixes.h"
#include "tests/engine/read_file.h"
#include "tests/engine/temp_folder.h"

namespace longtake {
namespace {

using ::testing::HasSubstr;
using Bytes = std::vector<std::byte>;
using Frames = std::vector<std::vector<uint8_t>>;  // of each latent frame

constexpr char kUnguidedSum[] =
    R"({"sampler":"few_step","timesteps":[1000,500],"shift":1.0,"block_latent_frames":2,
  "lower_case":true,"caption_tokens":28,"sizes":["256x160","128x96"],"max_latent_frames":1024})";
constexpr char kPrefixInWindow[] =
    R"({"sampler":"few_step","timesteps":[1000,500],"shift":1.0,"block_latent_frames":2,"first_image":"prefix",
  "state_window_blocks":2,"lower_case":true,"caption_tokens":28,"sizes":["256x160","128x96"],"max_latent_frames":1024})";

const SessionSpec kSpec{kSmall, 9, 7};  // blocks of 3, 2, 2 and 2
// With a first image where the settings take one.
SessionSpec SpecFor(const std::string& settings, Size size = kSmall, int latents = 9) {
  SessionSpec spec{.size = size, .latent_frames = latents, .seed = 7};
  if (settings.find("first_image") != std::string::npos) spec.first_image = Picture(size, 1);
  return spec;
}
// The second prompt is encoded in the middle of the block before, and counts from this one on.
constexpr int kSwitchBlock = 2;
constexpr char kPrompt[] = "a big red ball bounces", kNextPrompt[] = "a yellow star above the snow";

std::unique_ptr<Engine> Load(const std::string& folder, int threads = 2, const std::string& dtype = "auto") {
  auto engine = Engine::Load({.model_dir = folder, .dtype = dtype, .threads = threads, .max_sessions = 3});
  EXPECT_TRUE(engine.ok()) << engine.status();
  return engine.ok() ? *std::move(engine) : nullptr;
}

struct Saved {
  Bytes bytes;
  SessionProgress at;
};

// One video, pass by pass.
class Video {
 public:
  Video(Engine& engine, const SessionSpec& spec) : engine_(engine), id_(*engine.OpenSession(spec)) {}
  ~Video() { engine_.CloseSession(id_); }
  Video(const Video&) = delete;
  Video& operator=(const Video&) = delete;

  SessionId id() const { return id_; }
  SessionProgress at() const { return *engine_.progress(id_); }

  PassResult Run(PassKind kind, const std::string& prompt = "") {
    return RunPass(engine_, {.kind = kind, .session = id_, .prompt = prompt});
  }
  Saved Save() {
    PassResult result = Run(PassKind::kSave);
    EXPECT_TRUE(result.status.ok()) << result.status;
    return {std::move(result.checkpoint), at()};
  }
  absl::Status Restore(Bytes bytes) {
    return RunPass(engine_, {.kind = PassKind::kRestore, .session = id_, .checkpoint = std::move(bytes)}).status;
  }
  // Both at once: the save in the decoder's lane, the step in the transformer's.
  Saved SaveWhileDenoising() {
    Saved saved{.at = at()};
    Countdown left(2);
    const auto done = [&](size_t, PassResult result) {
      EXPECT_TRUE(result.status.ok()) << result.status;
      if (!result.checkpoint.empty()) saved.bytes = std::move(result.checkpoint);
      left.Done();
    };
    engine_.Submit(Lane::kDecoder, {{.kind = PassKind::kSave, .session = id_}}, done);
    engine_.Submit(Lane::kTransformer, {{.kind = PassKind::kDenoise, .session = id_}}, done);
    left.Wait();
    return saved;
  }

  // The next pass; false where the video is made. `switched`: the second prompt has been encoded.
  bool Step(Frames* frames) {
    const SessionProgress p = at();
    if (!p.has_prompt) return Expect(Run(PassKind::kEncodePrompt, kPrompt));
    if (p.decoded_latents < p.committed_frames) {
      PassResult result = Run(PassKind::kDecode);
      frames->push_back(std::move(result.frames.bytes));
      return Expect(result);
    }
    if (p.block == p.blocks) return false;
    if (!switched && p.block == kSwitchBlock - 1 && p.step == 1) {
      switched = true;
      return Expect(Run(PassKind::kEncodePrompt, kNextPrompt));
    }
    return Expect(Run(p.step < p.steps ? PassKind::kDenoise : PassKind::kCommit));
  }
  Frames Finish() {
    Frames frames;
    while (Step(&frames)) continue;
    return frames;
  }
  bool switched = false;

 private:
  static bool Expect(const PassResult& result) {
    EXPECT_TRUE(result.status.ok()) << result.status;
    return result.status.ok();
  }

  Engine& engine_;
  const SessionId id_;
};

Frames Tail(const Frames& frames, int from) { return {frames.begin() + from, frames.end()}; }

void ExpectSamePlace(const SessionProgress& a, const SessionProgress& b) {
  EXPECT_EQ(a.block, b.block);
  EXPECT_EQ(a.blocks, b.blocks);
  EXPECT_EQ(a.block_frames, b.block_frames);
  EXPECT_EQ(a.committed_frames, b.committed_frames);
  EXPECT_EQ(a.decoded_latents, b.decoded_latents);
  EXPECT_EQ(a.has_prompt, b.has_prompt);
}

class SaveRestoreTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    engine_ = Load(Variant(folder_, GetParam()));
    ASSERT_NE(engine_, nullptr);
    expected_ = Video(*engine_, spec_).Finish();
    ASSERT_EQ(expected_.size(), 9u);
  }

  const SessionSpec spec_ = SpecFor(GetParam());
  const TempFolder folder_;
  std::unique_ptr<Engine> engine_;
  Frames expected_;
};

INSTANTIATE_TEST_SUITE_P(Settings, SaveRestoreTest,
                         ::testing::Values(kTwoSizes, kRunningSum, kUnguidedSum, kHeldImage, kPrefixImage,
                                           kPrefixInWindow),
                         [](const auto& info) {
                           return std::string(std::array{"Window", "Guided", "Sum", "HeldImage", "PrefixImage",
                                                         "PrefixInWindow"}[info.index]);
                         });

// Saved behind every pass from the first commit on, so at each boundary of blocks, between decodes, and in the middle
// of blocks, with a prompt that waits too.
TEST_P(SaveRestoreTest, AnotherEngineFinishesTheVideo) {
  std::vector<Saved> checkpoints;
  std::vector<bool> switched;
  {
    Video video(*engine_, spec_);
    Frames frames;
    while (video.Step(&frames)) {
      if (video.at().block == 0) continue;
      checkpoints.push_back(video.Save());
      switched.push_back(video.switched);
    }
    EXPECT_EQ(frames, expected_) << "saving disturbs the session";
  }
  const auto other = Load(folder_.path(), /*threads=*/1);
  ASSERT_NE(other, nullptr);
  for (size_t i = 0; i < checkpoints.size(); ++i) {
    SCOPED_TRACE(absl::StrCat("checkpoint ", i));
    const SessionProgress& at = checkpoints[i].at;
    EXPECT_LE(checkpoints[i].bytes.size(), other->model().max_checkpoint_bytes);
    Video video(*other, spec_);
    ASSERT_TRUE(video.Restore(checkpoints[i].bytes).ok());
    ExpectSamePlace(video.at(), at);
    EXPECT_EQ(video.at().step, 0);
    video.switched = switched[i];
    ASSERT_EQ(video.Save().bytes, checkpoints[i].bytes);
    EXPECT_EQ(video.Finish(), Tail(expected_, at.decoded_latents));
  }
}

TEST_P(SaveRestoreTest, SavesWhileTheNextBlockIsDenoised) {
  Video video(*engine_, spec_);
  Frames frames;
  while (video.at().block < 3 || video.at().step > 0) ASSERT_TRUE(video.Step(&frames));
  const Saved saved = video.SaveWhileDenoising();
  while (video.Step(&frames)) continue;
  EXPECT_EQ(frames, expected_);

  Video restored(*engine_, spec_);
  ASSERT_TRUE(restored.Restore(saved.bytes).ok());
  restored.switched = true;
  EXPECT_EQ(restored.Finish(), Tail(expected_, saved.at.decoded_latents));
}

// The session that goes back is the one that was saved, and it does so twice.
TEST_P(SaveRestoreTest, RewindsToAnEarlierBlock) {
  Video video(*engine_, spec_);
  Frames frames;
  while (video.at().block == 0) ASSERT_TRUE(video.Step(&frames));
  const Saved saved = video.Save();
  for (int time = 0; time < 2; ++time) {
    video.Finish();
    ASSERT_TRUE(video.Restore(saved.bytes).ok());
    ExpectSamePlace(video.at(), saved.at);
    video.switched = false;
    EXPECT_EQ(video.Finish(), Tail(expected_, saved.at.decoded_latents));
  }
}

// A fork of a video goes on with another prompt than the one that the state was saved under: where models commit the
// last block again for that, its inputs are in the checkpoint.
TEST_P(SaveRestoreTest, TakesAnotherPromptAtTheBoundary) {
  Video video(*engine_, spec_);
  video.switched = true;  // not by itself
  Frames frames;
  while (video.at().block < 2 || video.at().decoded_latents < video.at().committed_frames) {
    ASSERT_TRUE(video.Step(&frames));
  }
  const Saved saved = video.Save();
  ASSERT_TRUE(video.Run(PassKind::kEncodePrompt, kNextPrompt).status.ok());
  // As if it had been encoded during the block before.
  EXPECT_EQ(video.Finish(), Tail(expected_, saved.at.decoded_latents));

  Video fork(*engine_, spec_);
  fork.switched = true;
  ASSERT_TRUE(fork.Restore(saved.bytes).ok());
  ASSERT_TRUE(fork.Run(PassKind::kEncodePrompt, kNextPrompt).status.ok());
  EXPECT_EQ(fork.Finish(), Tail(expected_, saved.at.decoded_latents));
}

TEST_P(SaveRestoreTest, HasThePlannedBytes) {
  Video video(*engine_, SpecFor(GetParam(), kLarge));
  Frames frames;
  while (video.at().block < 2) ASSERT_TRUE(video.Step(&frames));
  ASSERT_EQ(video.at().decoded_latents, 3);
  const size_t bytes = video.Save().bytes.size();
  size_t state = 0, prompt = 0;  // of a slot
  for (const MemoryRegion& region : engine_->memory()) {
    if (region.name == "state" || region.name == "state_spare") state += region.planned_bytes / region.slots;
    if (region.name == "prompt") prompt = region.planned_bytes / region.slots;
  }
  // Latents: the block of two, and the three before. The prompt in use is half of its region, and another one waits.
  constexpr size_t kLatentFrame = size_t{16} * (160 / 16) * (256 / 16) * sizeof(float);
  const size_t memory = state + prompt / 2 + 5 * kLatentFrame;
  EXPECT_GT(bytes, memory);
  EXPECT_LE(bytes, memory + 320);  // the header
  EXPECT_LE(bytes, engine_->model().max_checkpoint_bytes);
}

// ---- Another process

void WriteFile(const std::string& path, const void* data, size_t bytes) {
  std::ofstream(path, std::ios::binary).write(static_cast<const char*>(data), static_cast<std::streamsize>(bytes));
}

constexpr char kFolderVariable[] = "LONGTAKE_TEST_RESTORE_FOLDER";

// What the other process does: DISABLED keeps it from running by itself.
TEST(SaveRestoreProcess, DISABLED_Finishes) {
  const std::string folder = std::getenv(kFolderVariable);
  const auto engine = Load(folder, /*threads=*/1);
  const std::string checkpoint = ReadFile(folder + "/checkpoint");
  const auto* bytes = reinterpret_cast<const std::byte*>(checkpoint.data());
  Video video(*engine, SpecFor(ReadFile(folder + "/longtake.json")));
  ASSERT_TRUE(video.Restore({bytes, bytes + checkpoint.size()}).ok());
  std::vector<uint8_t> all;
  for (const std::vector<uint8_t>& frame : video.Finish()) all.insert(all.end(), frame.begin(), frame.end());
  WriteFile(folder + "/frames", all.data(), all.size());
}

TEST_P(SaveRestoreTest, AnotherProcessFinishesTheVideo) {
  Video video(*engine_, spec_);
  Frames frames;
  while (video.at().block == 0) ASSERT_TRUE(video.Step(&frames));
  const Saved saved = video.Save();
  WriteFile(folder_.path() + "/checkpoint", saved.bytes.data(), saved.bytes.size());
  ASSERT_EQ(setenv(kFolderVariable, folder_.path().c_str(), 1), 0);
  const std::string program = std::filesystem::read_symlink("/proc/self/exe");
  const int status = std::system(absl::StrCat(program,
                                              " --gtest_filter=SaveRestoreProcess.DISABLED_Finishes"
                                              " --gtest_also_run_disabled_tests > ",
                                              folder_.path(), "/log 2>&1")
                                     .c_str());
  EXPECT_EQ(status, 0) << ReadFile(folder_.path() + "/log");
  std::string expected;
  for (const std::vector<uint8_t>& frame : Tail(expected_, saved.at.decoded_latents)) {
    expected.append(frame.begin(), frame.end());
  }
  EXPECT_TRUE(ReadFile(folder_.path() + "/frames") == expected);
}

// ---- Far into a video, so that the caches are rebuilt from kept latents and lack the video's beginning.

TEST(SaveRestore, RebuildsCachesFarIntoAVideo) {
  const TempFolder folder;
  const auto engine = Load(Variant(folder, kTwoSizes));
  ASSERT_NE(engine, nullptr);
  const SessionSpec spec{kSmall, 48, 3};
  Frames frames;
  Video video(*engine, spec);
  std::vector<Saved> checkpoints;
  while (video.Step(&frames)) {
    if (video.at().step == 1 && video.at().block > 20) checkpoints.push_back(video.Save());
  }
  ASSERT_EQ(checkpoints.size(), 3u);
  for (const Saved& saved : checkpoints) {
    Video restored(*engine, spec);
    ASSERT_TRUE(restored.Restore(saved.bytes).ok());
    restored.switched = true;
    Frames again;
    while (restored.at().block == saved.at.block) ASSERT_TRUE(restored.Step(&again));
    // And once more from there: caches that lack the beginning are as good as others.
    Video second(*engine, spec);
    ASSERT_TRUE(second.Restore(restored.Save().bytes).ok());
    second.switched = true;
    EXPECT_EQ(second.Finish(), Tail(frames, restored.at().decoded_latents));
    while (restored.Step(&again)) continue;
    EXPECT_EQ(again, Tail(frames, saved.at.decoded_latents));
  }
}

// ---- Refusals

TEST(SaveRestore, SavesABidirectionalVideoOnceItIsCommitted) {
  const TempFolder folder;
  const auto engine = Load(Variant(folder, kBidirectional));
  ASSERT_NE(engine, nullptr);
  const SessionSpec spec{kSmall, 5, 7};
  Video video(*engine, spec);
  Frames frames;
  while (video.at().block == 0) {
    const PassResult result = video.Run(PassKind::kSave);
    EXPECT_TRUE(absl::IsFailedPrecondition(result.status)) << result.status;
    EXPECT_THAT(result.status.message(), HasSubstr("no block is committed"));
    ASSERT_TRUE(video.Step(&frames));
  }
  for (int decoded = 0; decoded < 2; ++decoded) ASSERT_TRUE(video.Step(&frames));
  const Saved saved = video.Save();
  Video restored(*engine, spec);
  ASSERT_TRUE(restored.Restore(saved.bytes).ok());
  while (video.Step(&frames)) continue;
  EXPECT_EQ(restored.Finish(), Tail(frames, 2));
}

class SaveRestoreRefusals : public ::testing::Test {
 protected:
  void SetUp() override {
    engine_ = Load(Variant(folder_, kTwoSizes));
    ASSERT_NE(engine_, nullptr);
    Video video(*engine_, kSpec);
    while (video.at().block < 2) ASSERT_TRUE(video.Step(&expected_));
    good_ = video.Save().bytes;
    while (video.Step(&expected_)) continue;
  }

  const TempFolder folder_;
  std::unique_ptr<Engine> engine_;
  Frames expected_;
  Bytes good_;
};

TEST_F(SaveRestoreRefusals, TornAndChangedBytesChangeNothing) {
  Video video(*engine_, kSpec);
  Frames frames;
  while (video.at().block < 1) ASSERT_TRUE(video.Step(&frames));
  EXPECT_TRUE(engine_->CheckCheckpoint(kSpec, good_).ok());
  const auto refused = [&](const Bytes& bytes, const std::string& why) {
    const absl::Status status = video.Restore(bytes);
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    EXPECT_EQ(engine_->CheckCheckpoint(kSpec, bytes), status);
    EXPECT_THAT(status.message(), HasSubstr("checkpoint: "));
    EXPECT_THAT(status.message(), HasSubstr(why));
  };
  refused({}, "none");
  for (const size_t bytes : {size_t{1}, size_t{7}}) refused({good_.begin(), good_.begin() + bytes}, "none");
  refused({good_.begin(), good_.begin() + 20}, "cut off");
  for (const size_t bytes : {size_t{28}, size_t{100}, good_.size() / 2, good_.size() - 1}) {
    refused({good_.begin(), good_.begin() + bytes}, absl::StrCat("it has ", bytes, " bytes of ", good_.size()));
  }
  Bytes longer = good_;
  longer.push_back({});
  refused(longer, "bytes of");
  for (size_t at = 0; at < good_.size(); at += 1 + at / 3) {
    Bytes changed = good_;
    changed[at] ^= std::byte{1};
    refused(changed, "");
  }
  while (video.Step(&frames)) continue;
  EXPECT_EQ(frames, expected_);
}

TEST_F(SaveRestoreRefusals, ForeignBytesAreNamed) {
  const auto refused = [&](Engine& engine, const SessionSpec& spec, const std::string& what) {
    Video video(engine, spec);
    const absl::Status status = video.Restore(good_);
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_EQ(engine.CheckCheckpoint(spec, good_), status);
    EXPECT_THAT(status.message(), HasSubstr(absl::StrCat("checkpoint: its ", what, " is ")));
    EXPECT_EQ(video.at().block, 0);
    EXPECT_FALSE(video.at().has_prompt);
    EXPECT_FALSE(video.Finish().empty());
  };
  SessionSpec spec = kSpec;
  spec.seed = 8;
  refused(*engine_, spec, "spec");
  refused(*engine_, {kLarge, 9, 7}, "spec");
  refused(*engine_, {kSmall, 7, 7}, "spec");

  const TempFolder other;
  const auto other_model = Load(Variant(other, kUnguidedSum));
  ASSERT_NE(other_model, nullptr);
  EXPECT_NE(other_model->model().model_digest, engine_->model().model_digest);
  refused(*other_model, kSpec, "model");

  const auto float32 = Load(folder_.path(), 2, "float32");
  ASSERT_NE(float32, nullptr);
  EXPECT_EQ(float32->model().model_digest, engine_->model().model_digest);
  if (float32->model().numerics_id != engine_->model().numerics_id) refused(*float32, kSpec, "numerics id");

  // Of one backend and type, the other model makes other bytes in the warm-up.
  const std::string here = engine_->model().numerics_id, there = other_model->model().numerics_id;
  EXPECT_EQ(here.substr(0, here.rfind('/')), there.substr(0, there.rfind('/')));
  EXPECT_NE(here, there);
}

// Submitted from within a completion, during which no other pass completes.
TEST_F(SaveRestoreRefusals, ARestoreIsAlone) {
  Video video(*engine_, kSpec), other(*engine_, kSpec);
  const Pass restore{.kind = PassKind::kRestore, .session = video.id(), .checkpoint = good_};
  const Pass step{.kind = PassKind::kDenoise, .session = video.id()};
  const auto together = [&](const Pass& first, const Pass& second) {
    std::array<absl::Status, 2> statuses;
    Countdown left(3);
    const auto submit = [&](const Pass& pass, absl::Status* status) {
      engine_->Submit(LaneOf(pass.kind), {pass}, [&left, status](size_t, PassResult result) {
        *status = result.status;
        left.Done();
      });
    };
    engine_->Submit(Lane::kTransformer, {{.kind = PassKind::kEncodePrompt, .session = other.id(), .prompt = kPrompt}},
                    [&](size_t, PassResult) {
                      submit(first, &statuses[0]);
                      submit(second, &statuses[1]);
                      left.Done();
                    });
    left.Wait();
    EXPECT_TRUE(statuses[0].ok()) << statuses[0];
    EXPECT_TRUE(absl::IsFailedPrecondition(statuses[1])) << statuses[1];
  };
  together(restore, step);
  together(step, restore);
}

}  // namespace
}  // namespace longtake
