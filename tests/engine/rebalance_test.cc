// When a session is worth moving: the conditions one by one, and that no noise moves anything back and forth.
#include "engine/runtime/rebalance.h"

#include <algorithm>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace longtake {
namespace {

using Devices = std::vector<DeviceLoad>;

std::optional<size_t> Ask(const Devices& devices, size_t from, double seconds, double move_seconds = 0,
                          uint64_t batches_here = 100) {
  return Rebalance({devices, from, seconds, move_seconds, batches_here});
}

TEST(RecentLoad, FadesWithBatches) {
  RecentLoad load;
  for (uint64_t batch = 1; batch <= 200; ++batch) load.Add(batch, 0.25);
  EXPECT_NEAR(load.At(200), kLoadBatches * 0.25, 0.13);  // half a batch more, for it is sampled after one
  EXPECT_NEAR(load.At(200 + 16) / load.At(200), std::exp(-1), 1e-9);
  EXPECT_LT(load.At(400), 1e-4);
}

TEST(Rebalance, TakesFromTheBusiestForTheLeastBusyWithAFreeSlot) {
  EXPECT_EQ(Ask({{4, 1}, {0, 1}, {1, 1}}, 0, 1), 1u);
  EXPECT_EQ(Ask({{4, 1}, {0, 0}, {1, 1}}, 0, 1), 2u);
  EXPECT_EQ(Ask({{4, 1}, {0, 0}, {1, 0}}, 0, 1), std::nullopt);
  EXPECT_EQ(Ask({{4, 1}, {0, 1}, {5, 1}}, 0, 1), std::nullopt);
  EXPECT_EQ(Ask({{4, 1}}, 0, 1), std::nullopt);
}

TEST(Rebalance, LeavesADifferenceOfOneSession) {
  EXPECT_EQ(Ask({{1, 1}, {0, 1}}, 0, 1), std::nullopt);
  EXPECT_EQ(Ask({{3, 1}, {2, 1}}, 0, 1), std::nullopt);
  EXPECT_EQ(Ask({{3.4, 1}, {2, 1}}, 0, 1), std::nullopt);
  EXPECT_EQ(Ask({{3.5, 1}, {2, 1}}, 0, 1), 1u);
  EXPECT_EQ(Ask({{0, 1}, {0, 1}}, 0, 0), std::nullopt);
}

TEST(Rebalance, GainsTwiceTheMove) {
  EXPECT_EQ(Ask({{2, 1}, {0, 1}}, 0, 1, 0.5), 1u);
  EXPECT_EQ(Ask({{2, 1}, {0, 1}}, 0, 1, 0.51), std::nullopt);
}

TEST(Rebalance, LetsASessionStayAWhile) {
  EXPECT_EQ(Ask({{2, 1}, {0, 1}}, 0, 1, 0, 15), std::nullopt);
  EXPECT_EQ(Ask({{2, 1}, {0, 1}}, 0, 1, 0, 16), 1u);
}

// Three devices, twelve sessions that all begin on the first; each batch's passes differ by 30 % from the one before,
// and each session sits out a fifth of the batches. The load spreads within a few blocks and then stays.
TEST(Rebalance, SettlesAndDoesNotFlutter) {
  std::mt19937 random(3);
  std::uniform_real_distribution<double> noise(0.7, 1.3), chance(0, 1);
  std::vector<RecentLoad> loads(12);
  std::vector<size_t> device(12, 0);
  std::vector<uint64_t> came(12, 0);
  int moves = 0;
  uint64_t last_move = 0;
  for (uint64_t batch = 1; batch <= 20000; ++batch) {
    for (size_t i = 0; i < loads.size(); ++i) {
      if (chance(random) < 0.8) loads[i].Add(batch, 0.01 * noise(random));
    }
    const size_t i = batch % loads.size();  // begins a block
    Devices devices(3, {0, 12});
    for (size_t s = 0; s < loads.size(); ++s) devices[device[s]].seconds += loads[s].At(batch);
    const auto to = Rebalance({devices, device[i], loads[i].At(batch), 0.001, batch - came[i]});
    if (!to.has_value()) continue;
    device[i] = *to;
    came[i] = last_move = batch;
    ++moves;
  }
  std::vector<int> counts(3, 0);
  for (size_t d : device) ++counts[d];
  std::sort(counts.begin(), counts.end());
  EXPECT_GE(counts[0], 3);
  EXPECT_LE(counts[2], 5);
  EXPECT_GE(moves, 7);
  EXPECT_LE(moves, 10);
  EXPECT_LT(last_move, 100u);
}

}  // namespace
}  // namespace longtake
