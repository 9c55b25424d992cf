// The transformer's state: what a block sees, and taking the last block back for another prompt.
#include "engine/models/sana/causal_state.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/reference/reference_ops.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace longtake {
namespace {

using ::testing::ElementsAre;

TEST(BlockLengths, GiveTheRemainderToTheFirstBlock) {
  EXPECT_THAT(BlockLengths(3, 10), ElementsAre(3));
  EXPECT_THAT(BlockLengths(10, 10), ElementsAre(10));
  EXPECT_THAT(BlockLengths(19, 10), ElementsAre(19));
  EXPECT_THAT(BlockLengths(20, 10), ElementsAre(10, 10));
  EXPECT_THAT(BlockLengths(21, 10), ElementsAre(11, 10));
  EXPECT_EQ(BlockLengths(241, 10).size(), 24u);  // a minute of 961 frames
  EXPECT_EQ(BlockLengths(241, 10)[0], 11);
  EXPECT_THAT(BlockLengths(21, 0), ElementsAre(21));  // bidirectional
}

// A small model of the parity set, with a state region that starts dirty.
class StateTest : public ::testing::TestWithParam<int> {
 protected:
  static constexpr int kHeight = 4, kWidth = 4, kFrames = 2, kTokens = 3;

  StateTest() {
    auto model = SanaTransformer::Load(*ops_, "tests/parity/data/models/causal_sum/transformer", nullptr);
    EXPECT_TRUE(model.ok()) << model.status();
    model_ = *std::move(model);
    const int64_t channels = model_->config().in_channels;
    elements_ = channels * kFrames * kHeight * kWidth;
    scratch_ = ops_->device().Allocate(model_->ScratchBytes(model_->Tokens(kFrames, kHeight, kWidth), 1));
    for (int i = 0; i < 2; ++i) {
      prompts_.push_back(ops_->device().Allocate(model_->PromptBytes(kTokens)));
      auto caption = Noise(100 + i, kTokens * model_->config().caption_channels);
      auto scratch = ops_->device().Allocate(model_->PromptScratchBytes(kTokens));
      model_->EncodePrompt(
          MakeMat(static_cast<const void*>(caption->data()), DType::kF32, kTokens, model_->config().caption_channels),
          {}, scratch->data(), prompts_[i]->data());
    }
  }

  std::unique_ptr<Buffer> Noise(uint64_t seed, int64_t n) {
    auto buffer = ops_->device().Allocate(n * sizeof(float));
    ops_->sampler().FillNormal({.seed = seed}, n, buffer->f32());
    return buffer;
  }

  // A state region of its own, full of what an earlier session may have left.
  struct Run {
    std::unique_ptr<Buffer> region;
    CausalState state;
  };
  Run Start() {
    auto region = ops_->device().Allocate(CausalState::Bytes(*model_, GetParam(), kHeight, kWidth));
    std::memset(region->data(), 0xab, region->size());
    CausalState state(*model_, GetParam(), kHeight, kWidth, region->data());
    return {std::move(region), state};
  }

  TransformerPass Pass(int block, int prompt, const float* latents) {
    return {.latents = latents,
            .frames = kFrames,
            .height = kHeight,
            .width = kWidth,
            .first_frame = block * kFrames,
            .timesteps = {0.f},
            .prompt = {prompts_[prompt]->data(), kTokens}};
  }
  void Commit(CausalState& state, int block, int prompt) {
    auto latents = Noise(block, elements_);
    TransformerPass pass = Pass(block, prompt, latents->f32());
    state.Write(&pass);
    model_->Forward({&pass, 1}, scratch_->data());
    state.Committed();
  }
  // What the next block sees: its velocity on fixed noise.
  std::vector<float> NextVelocity(const CausalState& state, int block, int prompt) {
    auto noise = Noise(55, elements_), velocity = ops_->device().Allocate(elements_ * sizeof(float));
    TransformerPass pass = Pass(block, prompt, noise->f32());
    pass.timesteps = {700.f};
    pass.velocity = velocity->f32();
    state.Read(&pass);
    model_->Forward({&pass, 1}, scratch_->data());
    return {velocity->f32(), velocity->f32() + elements_};
  }

  std::unique_ptr<Ops> ops_ = MakeReferenceOps();
  std::unique_ptr<SanaTransformer> model_;
  std::unique_ptr<Buffer> scratch_;
  std::vector<std::unique_ptr<Buffer>> prompts_;
  int64_t elements_ = 0;
};

// A block committed under one prompt, taken back and committed under another, equals one that knew the other only: also
// where it is the first, whose state before it is empty.
TEST_P(StateTest, TakingBackTheLastBlockLeavesNoTrace) {
  for (int blocks = 1; blocks <= 5; ++blocks) {
    Run switched = Start(), direct = Start();
    for (int b = 0; b < blocks; ++b) Commit(switched.state, b, 0);
    const std::vector<float> before = NextVelocity(switched.state, blocks, 1);
    switched.state.TakeBack();
    Commit(switched.state, blocks - 1, 1);
    for (int b = 0; b < blocks; ++b) Commit(direct.state, b, b + 1 == blocks ? 1 : 0);
    EXPECT_EQ(NextVelocity(switched.state, blocks, 1), NextVelocity(direct.state, blocks, 1)) << blocks;
    EXPECT_NE(before, NextVelocity(switched.state, blocks, 1)) << blocks;
  }
}

TEST_P(StateTest, DenoisingLeavesTheStateAsItWas) {
  Run run = Start();
  for (int b = 0; b < 3; ++b) Commit(run.state, b, 0);
  const std::vector<std::byte> bytes(static_cast<std::byte*>(run.region->data()),
                                     static_cast<std::byte*>(run.region->data()) + run.region->size());
  NextVelocity(run.state, 3, 0);
  EXPECT_EQ(std::memcmp(bytes.data(), run.region->data(), bytes.size()), 0);
}

// What the next block reads is the sum, or the contributions of the last k blocks, and the last tail. What else the
// region holds (with a window the block k + 1 ago, and the tail before) has no influence: here it is made NaN. Each
// part that is read has.
TEST_P(StateTest, ABlockReadsTheWindowAndNothingElse) {
  const int k = GetParam();
  for (int blocks = 0; blocks <= 5; ++blocks) {
    SCOPED_TRACE(blocks);
    Run run = Start();
    for (int b = 0; b < blocks; ++b) Commit(run.state, b, 0);
    TransformerPass pass;
    run.state.Read(&pass);
    EXPECT_EQ(pass.history.size(), static_cast<size_t>(k == 0 ? std::min(blocks, 1) : std::min(blocks, k)));
    EXPECT_EQ(pass.tail == nullptr, blocks == 0);

    auto* const begin = static_cast<std::byte*>(run.region->data());
    const std::vector<std::byte> bytes(begin, begin + run.region->size());
    struct Part {
      size_t at, size;
    };
    std::vector<Part> parts;
    const auto add = [&](const void* part, size_t size) {
      parts.push_back({static_cast<size_t>(static_cast<const std::byte*>(part) - begin), size});
    };
    for (const float* contribution : pass.history) add(contribution, model_->ContributionBytes());
    if (pass.tail != nullptr) add(pass.tail, model_->TailBytes(kHeight, kWidth));

    const std::vector<float> expected = NextVelocity(run.state, blocks, 0);
    std::memset(begin, 0xff, run.region->size());
    for (const Part& p : parts) std::memcpy(begin + p.at, bytes.data() + p.at, p.size);
    EXPECT_EQ(NextVelocity(run.state, blocks, 0), expected);
    for (const Part& p : parts) {
      std::memset(begin + p.at, 0xff, p.size);
      const std::vector<float> without = NextVelocity(run.state, blocks, 0);
      EXPECT_TRUE(std::any_of(without.begin(), without.end(), [](float v) { return std::isnan(v); }));
      std::memcpy(begin + p.at, bytes.data() + p.at, p.size);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(SumAndRings, StateTest, ::testing::Values(0, 1, 2, 3));

// A window of as many blocks as there are adds up to the running sum.
class WideWindowTest : public StateTest {};
TEST_P(WideWindowTest, EqualsTheSum) {
  Run window = Start();
  auto region = ops_->device().Allocate(CausalState::Bytes(*model_, 0, kHeight, kWidth));
  CausalState sum(*model_, 0, kHeight, kWidth, region->data());
  for (int b = 0; b <= GetParam(); ++b) {
    const std::vector<float> expected = NextVelocity(sum, b, 0), actual = NextVelocity(window.state, b, 0);
    double most = 0, error = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      most = std::max(most, std::abs(double{expected[i]}));
      error = std::max(error, std::abs(double{expected[i]} - actual[i]));
    }
    EXPECT_LE(error, 2e-6 * most) << b << " blocks";  // sums of float32 in another order
    if (b == GetParam()) break;
    Commit(window.state, b, 0);
    Commit(sum, b, 0);
  }
}
INSTANTIATE_TEST_SUITE_P(AsManyAsBlocks, WideWindowTest, ::testing::Values(4));

}  // namespace
}  // namespace longtake
