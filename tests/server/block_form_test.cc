// How the blocks of a video may be made, by what its model has and its request allows.
#include "server/video/block_form.h"

#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace longtake::server {
namespace {

using testing::ElementsAre;

constexpr DecoderKind kFull = DecoderKind::kFull, kTiny = DecoderKind::kTiny;

ModelInfo Model(std::vector<int> step_ladder, bool tiny) {
  ModelInfo model;
  model.denoise_steps = 8;
  model.step_ladder = std::move(step_ladder);
  model.first_decode_cost = 0.25;
  model.rebuild_latents = 38;
  model.has_tiny_decoder = tiny;
  model.tiny_decode_cost = tiny ? 0.1 : 1;
  model.tiny_rebuild_latents = tiny ? 8 : 0;
  return model;
}

VideoPlan Plan(Fidelity fidelity, DecoderKind decoder = kFull) {
  VideoPlan plan;
  plan.options.fidelity = fidelity;
  plan.session.decoder = decoder;
  return plan;
}

TEST(BlockForms, AreOneWithoutLeave) {
  EXPECT_THAT(BlockForms(Model({8, 5, 3}, true), Plan(Fidelity::kFull)), ElementsAre(BlockForm{8, kFull}));
  EXPECT_THAT(BlockForms(Model({}, true), Plan(Fidelity::kFull, kTiny)), ElementsAre(BlockForm{8, kTiny}));
}

TEST(BlockForms, HaveFewerStepsAndThenTheTinyDecoder) {
  const VideoPlan adaptive = Plan(Fidelity::kAdaptive);
  EXPECT_THAT(BlockForms(Model({8, 5, 3}, true), adaptive),
              ElementsAre(BlockForm{8, kFull}, BlockForm{5, kFull}, BlockForm{3, kFull}, BlockForm{3, kTiny}));
  EXPECT_THAT(BlockForms(Model({8, 5}, false), adaptive), ElementsAre(BlockForm{8, kFull}, BlockForm{5, kFull}));
  EXPECT_THAT(BlockForms(Model({}, true), adaptive), ElementsAre(BlockForm{8, kFull}, BlockForm{8, kTiny}));
  EXPECT_THAT(BlockForms(Model({8, 5}, true), Plan(Fidelity::kAdaptive, kTiny)),
              ElementsAre(BlockForm{8, kTiny}, BlockForm{5, kTiny}));
}

TEST(BlockForms, AreALadderThatTheSchedulerTakes) {
  const ModelInfo model = Model({8, 5, 3}, true);
  const std::vector<BlockForm> forms = BlockForms(model, Plan(Fidelity::kAdaptive));
  scheduler::Request request{.block_latents = {1}, .ladder = RungsOf(model, forms)};
  EXPECT_TRUE(scheduler::Check(request).ok()) << scheduler::Check(request);
  ASSERT_EQ(request.ladder.size(), 4u);
  const scheduler::Rung& full = request.ladder[2];
  EXPECT_EQ(full.steps, 3);
  EXPECT_EQ(full.decode_cost, 1);
  EXPECT_EQ(full.first_decode, 0.25);
  EXPECT_EQ(full.rebuild_latents, 38);
  const scheduler::Rung& tiny = request.ladder[3];
  EXPECT_EQ(tiny.steps, 3);
  EXPECT_EQ(tiny.decode_cost, 0.1);
  EXPECT_EQ(tiny.first_decode, 1);
  EXPECT_EQ(tiny.rebuild_latents, 8);
  EXPECT_EQ(StepLevel(model, forms[0]), 0);
  EXPECT_EQ(StepLevel(model, forms[3]), 2);
  EXPECT_EQ(StepLevel(Model({}, true), forms[0]), 0);
}

}  // namespace
}  // namespace longtake::server
