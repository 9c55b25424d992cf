// Two lanes of a device, in the emulation, where a stream does nothing until somebody waits for it: passes are issued
// without waiting, then one lane is run to its end before the other begins, or both in random pieces. What the events
// between the lanes do not order then happens in the wrong order.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/cuda/cuda_ops.h"
#include "engine/runtime/executor.h"
#include "gtest/gtest.h"
#include "tests/cuda/emulation/settings.h"
#include "tests/engine/temp_folder.h"

namespace longtake {
namespace {

constexpr char kBundled[] = "models/longtake-tiny";
constexpr Size kSize{32, 32};

// Who is awaited first, once everything has been issued.
enum class Await { kEachAtOnce, kTransformerFirst, kDecoderFirst };

class StreamsTest : public testing::Test {
 protected:
  void SetUp() override {
    emulation::Set({});
    for (const char* part : {"transformer", "vae", "text_encoder", "tokenizer"}) {
      std::filesystem::create_directory_symlink(std::filesystem::absolute(std::string(kBundled) + "/" + part),
                                                folder_.path() + "/" + part);
    }
    std::ofstream(folder_.path() + "/longtake.json")
        << R"({"lower_case":true,"caption_tokens":28,"sizes":["32x32"],"max_latent_frames":64,"shift":1.0,)"
        << R"("sampler":"few_step","timesteps":[1000,500],"block_latent_frames":1})";
  }
  void TearDown() override { emulation::Set({}); }

  // Video of two sessions, one of three blocks and one of one, whose decoder caches share one place. The decode of a
  // block is issued before the passes that overwrite its latents, and behind those that made them.
  std::vector<std::vector<uint8_t>> Make(bool two_streams, Await await) {
    auto transformer = *MakeCudaOps({});
    auto decoder = two_streams ? *transformer->MakeStream() : nullptr;
    const PartOps parts(std::move(transformer), std::move(decoder));
    Device& device = parts.transformer().device();
    auto model = VideoModel::Load(parts, folder_.path(), nullptr);
    EXPECT_TRUE(model.ok()) << model.status();
    DecoderCaches caches(parts.decoder(), (*model)->slot().decoder_cache, 2, 1);
    Executor executor(parts, **model, caches, PlanScratch(parts, **model, 2 * (*model)->max_pass_tokens()));

    const SlotPlan plan = (*model)->slot();
    const auto state = device.Allocate(2 * (plan.state + plan.state_spare)),
               latents = device.Allocate(2 * plan.latents), prompt = device.Allocate(2 * plan.prompt);
    const auto part = [](Buffer& buffer, int slot) {
      return static_cast<std::byte*>(buffer.data()) + slot * (buffer.size() / 2);
    };
    std::vector<std::unique_ptr<Session>> sessions;
    for (int slot = 0; slot < 2; ++slot) {
      sessions.push_back(
          std::make_unique<Session>(**model, (*model)->sizes()[0], std::vector<int>(slot == 0 ? 3 : 1, 1),
                                    SessionSpec{kSize, slot == 0 ? 3 : 1, static_cast<uint64_t>(7 + slot)},
                                    SlotMemory{part(*state, slot), part(*latents, slot), part(*prompt, slot)}));
    }

    const uint64_t allocations = emulation::GetCounts().allocations;
    std::vector<std::vector<uint8_t>> videos(2);
    std::vector<IssuedPasses*> under_way[2];
    const auto run = [&](std::vector<std::pair<int, PassKind>> batch) {
      std::vector<Pass> passes;
      for (const auto& [slot, kind] : batch) passes.push_back({.kind = kind, .prompt = "a red ball"});
      std::vector<BoundPass> bound;
      for (size_t i = 0; i < batch.size(); ++i) {
        bound.push_back({.pass = &passes[i], .session = sessions[batch[i].first].get(), .slot = batch[i].first});
      }
      const auto done = [&](const IssuedPasses::One& one, PassResult result) {
        EXPECT_TRUE(result.status.ok()) << result.status;
        std::vector<uint8_t>& video = videos[one.pass.slot];
        video.insert(video.end(), result.frames.bytes.begin(), result.frames.bytes.end());
      };
      executor.Issue(
          bound, [&](IssuedPasses* p) { under_way[static_cast<size_t>(p->lane)].push_back(p); },
          [](const BoundPass&, const absl::Status& status) { ADD_FAILURE() << status; });
      const auto wait = [&](int which) {
        for (IssuedPasses* p : under_way[which]) executor.Await(p, done);
        under_way[which].clear();
      };
      if (await == Await::kEachAtOnce || batch.empty()) {
        wait(await == Await::kDecoderFirst ? 1 : 0);
        wait(await == Await::kDecoderFirst ? 0 : 1);
      }
    };
    using enum PassKind;
    run({{0, kEncodePrompt}, {1, kEncodePrompt}});
    for (int step = 0; step < 2; ++step) run({{0, kDenoise}, {1, kDenoise}});
    run({{0, kCommit}, {1, kCommit}});
    run({{0, kDecode}, {1, kDecode}});
    run({{0, kDenoise}});
    run({{0, kDenoise}});
    run({{0, kCommit}});
    run({{0, kDenoise}});  // into the latents that the first decode reads
    run({{0, kDecode}});
    run({{0, kDenoise}});
    run({{0, kCommit}});
    run({{0, kDecode}});
    run({});
    EXPECT_TRUE(device.Synchronize().ok() && parts.decoder().device().Synchronize().ok());
    EXPECT_EQ(sessions[0]->progress().decoded_latents, 3);
    EXPECT_EQ(emulation::GetCounts().allocations, allocations) << "passes work in what was planned";
    scratch_ = executor.scratch_use();
    return videos;
  }

  TempFolder folder_;
  Scratch::Use scratch_;  // of the last Make
};

TEST_F(StreamsTest, AreOrderedByWhatPassesReadAndWrite) {
  const auto expected = Make(/*two_streams=*/false, Await::kEachAtOnce);
  EXPECT_EQ(expected[0].size(), 9u * 32 * 32 * 3 / 2);
  EXPECT_EQ(expected[1].size(), 1u * 32 * 32 * 3 / 2);
  const auto expect_same = [&](Await await, const std::string& what) {
    const auto made = Make(/*two_streams=*/true, await);
    for (size_t slot = 0; slot < 2; ++slot) {
      ASSERT_EQ(made[slot].size(), expected[slot].size()) << what;
      const auto differs = std::mismatch(made[slot].begin(), made[slot].end(), expected[slot].begin());
      EXPECT_TRUE(differs.first == made[slot].end())
          << what << ": session " << slot << " from byte " << differs.first - made[slot].begin() << " on";
    }
  };
  expect_same(Await::kEachAtOnce, "each at once");
  expect_same(Await::kTransformerFirst, "the transformer's first");
  expect_same(Await::kDecoderFirst, "the decoder's first");
  for (const uint32_t seed : {1u, 2u}) {
    emulation::Set({.streams = emulation::Streams::kRandom, .seed = seed});
    expect_same(Await::kDecoderFirst, absl::StrCat("in random pieces, seed ", seed));
  }
}

// The plan is of the largest batch, and no larger: here both sessions' tokens, and a prompt a few words longer than the
// test's.
TEST_F(StreamsTest, WorkInThePlannedScratch) {
  for (const bool two_streams : {false, true}) {
    Make(two_streams, Await::kEachAtOnce);
    EXPECT_LE(scratch_.used, scratch_.planned);
    EXPECT_LT(scratch_.planned - scratch_.used, size_t{1} << 18) << scratch_.planned;
  }
}

}  // namespace
}  // namespace longtake
