// The simulator: times of its machine, what its viewers see, and what its statistics say.
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "bench/serving/machine.h"
#include "bench/serving/policies.h"
#include "bench/serving/search.h"
#include "bench/serving/simulation.h"
#include "bench/serving/statistics.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/temp_folder.h"

namespace longtake::bench {
namespace {

using scheduler::LaneId;
using scheduler::SessionId;
using testing::DoubleNear;
using testing::ElementsAre;
using testing::HasSubstr;

// A batch of transformer passes takes 10 ms and 1 ms a latent frame, a decode 50 ms, an encoding 20 ms.
PassTable Table() {
  PassTable table;
  table.places = 8;
  table.steps = 4;
  table.block_latents = 4;
  table.frames_per_latent = 4;
  table.fps = 16;
  table.text = 0.005;
  table.transformer = {{4, 0.014}, {16, 0.026}};
  table.decode = 0.05;
  table.encode = 0.02;
  return table;
}

TEST(PassTableTest, LinesGoOnBeyondThePoints) {
  const PassTable table = Table();
  EXPECT_DOUBLE_EQ(table.TransformerSeconds(10), 0.02);
  EXPECT_DOUBLE_EQ(table.TransformerSeconds(32), 0.042);
  EXPECT_DOUBLE_EQ(table.TransformerSeconds(2), 0.012);
}

TEST(PassTableTest, TheFirstBlockTakesWhatFillsNone) {
  const PassTable table = Table();
  EXPECT_THAT(table.Blocks(0.05), ElementsAre(1));
  EXPECT_THAT(table.Blocks(2.5), ElementsAre(7, 4));  // 40 frames are 1 and ten latent frames more
  EXPECT_THAT(table.Blocks(3 + 1 / 16.0), ElementsAre(5, 4, 4));
}

TEST(PassTableTest, TheCommittedTablesCanBeRead) {
  for (const char* name : {"cpu_tiny", "h100_2b", "h200_2b"}) {
    const auto table = LoadTable(std::string("bench/serving/tables/") + name + ".json");
    ASSERT_TRUE(table.ok()) << table.status();
    EXPECT_EQ(table->name, name);
    double noise = 0;
    for (double factor : table->noise) noise += factor / static_cast<double>(table->noise.size());
    EXPECT_NEAR(noise, 1, 0.1) << name;
  }
}

TEST(PassTableTest, AFaultIsNamed) {
  const TempFolder folder;
  const auto load = [&](const std::string& text) {
    return std::string(LoadTable(folder.Write("table.json", text)).status().message());
  };
  EXPECT_THAT(load("{"), HasSubstr(folder.path()));
  EXPECT_THAT(load("{}"), HasSubstr("name"));
  const std::string rest =
      R"("places":1,"steps":1,"block_latents":1,"frames_per_latent":1,"text":0,"encode":0,"encode_begin":0,"engine_speed":[1],)"
      R"("encoder_speed":1,"name":"a","source":"b","transformer":[[1,1]],"decode":1,)";
  EXPECT_EQ(load("{" + rest + R"("fps":16,"noise":[1]})"), "");
  EXPECT_THAT(load("{" + rest + R"("fps":0,"noise":[1]})"), HasSubstr("fps"));
  EXPECT_THAT(load("{" + rest + R"("fps":16,"noise":[]})"), HasSubstr("noise"));
  EXPECT_THAT(LoadTable("/nowhere.json").status().message(), HasSubstr("/nowhere.json"));
}

// Submits batches by hand and keeps when each pass ended.
class MachineTest : public testing::Test {
 protected:
  void Make(Lanes lanes, int devices = 1) {
    machine = std::make_unique<Machine>(&table, &loop, devices, lanes, /*encoders=*/2, /*seed=*/1);
    for (size_t session = 0; session < 4; ++session) machine->SetJob(session, 1, {4, 4});
  }
  void Submit(int lane, const std::vector<PassKind>& kinds) {
    std::vector<scheduler::Pass> passes;
    for (size_t i = 0; i < kinds.size(); ++i) passes.push_back({.kind = kinds[i], .session = SessionId{i}});
    const size_t first = ended.size();
    ended.resize(first + kinds.size());
    machine->Submit(LaneId{lane}, passes,
                    [this, first](size_t i, scheduler::PassOutcome) { ended[first + i] = loop.now(); });
  }
  void RunAll() {
    while (loop.Step()) {
    }
  }

  PassTable table = Table();
  EventLoop loop;
  std::unique_ptr<Machine> machine;
  std::vector<double> ended;
};

constexpr PassKind kDenoise = PassKind::kDenoise, kDecode = PassKind::kDecode;
constexpr double kClose = 1e-6;

TEST_F(MachineTest, DecodesEndOneByOneAndTransformerPassesTogether) {
  Make(Lanes::kOne);
  Submit(0, {kDecode, kDenoise, kDecode, kDenoise});
  Submit(0, {kDenoise});
  RunAll();
  // A video's first latent frame is one frame of four.
  EXPECT_THAT(ended, ElementsAre(DoubleNear(0.0125, kClose), DoubleNear(0.043, kClose), DoubleNear(0.025, kClose),
                                 DoubleNear(0.043, kClose), DoubleNear(0.057, kClose)));
  EXPECT_NEAR(machine->busy_seconds(), 0.057, kClose);
}

TEST_F(MachineTest, ABarrierWaitsForBothHalvesOfABatch) {
  Make(Lanes::kBarrier);
  Submit(0, {kDecode, kDenoise});
  Submit(0, {kDecode, kDenoise});
  RunAll();
  EXPECT_THAT(ended, ElementsAre(DoubleNear(0.0125, kClose), DoubleNear(0.014, kClose), DoubleNear(0.064, kClose),
                                 DoubleNear(0.028, kClose)));
}

TEST_F(MachineTest, LanesAndDevicesDoNotWaitForEachOther) {
  Make(Lanes::kOverlapping, 2);
  EXPECT_EQ(machine->lanes().size(), 4u);
  table.overlap_speed = 0.5;
  Submit(0, {kDenoise});
  Submit(2, {kDenoise});
  Submit(1, {kDecode});
  RunAll();
  // On the first device both lanes run at half speed until the decode is done: 12.5 ms of work in 25 ms.
  EXPECT_THAT(ended, ElementsAre(DoubleNear(0.0265, kClose), DoubleNear(0.014, kClose), DoubleNear(0.025, kClose)));
}

TEST_F(MachineTest, EncodersAndTheEngineSlowEachOther) {
  table.engine_speed = {1, 0.5};
  table.encoder_speed = 0.8;
  Make(Lanes::kOne);
  std::vector<double> encoded;
  Submit(0, {kDenoise});
  machine->Encode(0, 0.02, [&] { encoded.push_back(loop.now()); });
  machine->Encode(0, 0.005, [&] { encoded.push_back(loop.now()); });
  RunAll();
  // The first encoding takes 25 ms, of which the pass runs 12.5; the second waits for its session's turn: 5 ms of work,
  // 3 ms of it beside the pass at 0.8.
  EXPECT_NEAR(ended[0], 0.028, kClose);
  EXPECT_THAT(encoded, ElementsAre(DoubleNear(0.025, kClose), DoubleNear(0.0306, kClose)));
}

TEST_F(MachineTest, NoiseIsPlayedInItsOrder) {
  table.noise = {1, 2};
  Make(Lanes::kOne);
  for (int i = 0; i < 3; ++i) Submit(0, {kDenoise});
  RunAll();
  EXPECT_NEAR(ended[1], 0.042, kClose);
  EXPECT_NEAR(ended[2] - ended[1], ended[0], kClose);
}

TEST(SimulationTest, AnIdleMachineServesEverybodyAtOnce) {
  std::vector<Visitor> trace;
  for (int i = 0; i < 5; ++i) trace.push_back({.arrives = 20.0 * i, .seconds = 6, .patience = 60});
  const PassTable table = Table();
  const Outcome outcome = Simulate(trace, table, {}, MakePolicy("ours", table.block_seconds()));
  EXPECT_EQ(outcome.smooth, 5);
  EXPECT_EQ(outcome.admitted, 5);
  // A prompt, four steps and a commit of the first block's four to seven latent frames, one frame decoded and encoded.
  EXPECT_NEAR(outcome.first_p50, 0.005 + 5 * 0.014 + 0.0125 + 0.005, 0.02);
}

TEST(SimulationTest, StallsAndPatienceCount) {
  PassTable table = Table();
  table.decode = 0.4;  // 1.6 s a second of video: nobody can be served without a stall
  std::vector<Visitor> trace = {{.arrives = 0, .seconds = 5, .patience = 60},
                                {.arrives = 0.1, .seconds = 5, .patience = 0.2}};
  const Outcome outcome = Simulate(trace, table, {}, MakePolicy("ours", table.block_seconds()));
  EXPECT_EQ(outcome.smooth, 0);
  EXPECT_EQ(outcome.stalled, 1);
  EXPECT_EQ(outcome.left, 1);
  EXPECT_GT(outcome.visits[0].stalled, 1);
  EXPECT_TRUE(outcome.visits[1].left);
}

// What the barrier costs, on the device that the design is for.
TEST(SimulationTest, OverlappingLanesAndASecondDeviceMakeMore) {
  const auto table = LoadTable("bench/serving/tables/h200_2b.json");
  ASSERT_TRUE(table.ok()) << table.status();
  const auto made = [&](int devices, Lanes lanes) {
    bench::Run run;
    run.trace = {.sessions = 60, .arrivals = "poisson", .load = 4, .live_share = 0};
    run.simulation.server.devices = devices;
    run.simulation.server.lanes = lanes;
    return SimulateOne(run, *table).video_seconds;
  };
  const double one = made(1, Lanes::kOne), overlapping = made(1, Lanes::kOverlapping);
  EXPECT_GT(overlapping, 1.3 * one);
  EXPECT_GT(made(2, Lanes::kOne), 1.8 * one);
}

// More than the machine can carry: whoever is let in is served without a stall.
TEST(SimulationTest, AdmittedViewersDoNotStallInOverload) {
  const auto table = LoadTable("bench/serving/tables/cpu_tiny.json");
  ASSERT_TRUE(table.ok()) << table.status();
  PassTable exact = *table;
  exact.noise = {1};
  bench::Run run;
  run.trace = {.sessions = 150, .load = 2};
  const Outcome outcome = SimulateOne(run, exact);
  EXPECT_GT(outcome.refused, 10);
  EXPECT_GT(outcome.continuity_of_admitted(), 0.99);
}

TEST(StatisticsTest, StudentsInterval) {
  const Interval mean = MeanOf({1, 2, 3, 4, 5});
  EXPECT_DOUBLE_EQ(mean.mean, 3);
  EXPECT_NEAR(mean.half, 2.776 * std::sqrt(2.5 / 5), 1e-9);
  EXPECT_TRUE(mean.excludes_zero());
  EXPECT_FALSE(Difference({1, 2, 3}, {2, 2, 2}).excludes_zero());
  EXPECT_TRUE(Difference({3.1, 4.0, 5.2}, {1, 2, 3}).excludes_zero());
  EXPECT_DOUBLE_EQ(Ratio({2, 6}, {1, 2}).mean, 2.5);
  EXPECT_FALSE(MeanOf({7}).excludes_zero()) << "one value says nothing";
}

TEST(TraceTest, LoadStretchesTheSameVisitors) {
  const PassTable table = Table();
  const std::vector<Visitor> once = MakeTrace({.seed = 3, .sessions = 50, .load = 0.4}, table),
                             twice = MakeTrace({.seed = 3, .sessions = 50, .load = 0.8}, table);
  for (size_t i = 0; i < once.size(); ++i) {
    EXPECT_NEAR(once[i].arrives, 2 * twice[i].arrives, 1e-6);
    EXPECT_EQ(once[i].seconds, twice[i].seconds);
  }
}

}  // namespace
}  // namespace longtake::bench
