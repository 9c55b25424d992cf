// The transformer's state: what a block sees, and taking the last block back for another prompt.
#include "engine/models/sana/causal_state.h"

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
          scratch->data(), prompts_[i]->data());
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

// With a window of k the block k + 1 ago is forgotten, but for the tail, which comes from the last; a sum forgets
// nothing.
TEST_P(StateTest, TheWindowForgetsOlderBlocks) {
  const int k = GetParam();
  TransformerPass pass;
  Run run = Start();
  for (int b = 0; b < 6; ++b) {
    run.state.Read(&pass);
    const size_t expected = k == 0 ? std::min(b, 1) : std::min(b, k);
    EXPECT_EQ(pass.history.size(), expected);
    EXPECT_EQ(pass.tail == nullptr, b == 0);
    Commit(run.state, b, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(SumAndRings, StateTest, ::testing::Values(0, 1, 2, 3));

}  // namespace
}  // namespace longtake
