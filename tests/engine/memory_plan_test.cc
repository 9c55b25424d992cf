// Whether a plan fits, and what is said where it does not.
#include "engine/runtime/memory_plan.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace longtake {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kMiB = uint64_t{1} << 20;

// 4 sessions of 50 + 100 MiB, 20 + 10 MiB once; weights of 300 MiB, which are in memory already.
MemoryPlan Plan() {
  return {.slot = {.state = 20 * kMiB,
                   .state_spare = 10 * kMiB,
                   .latents = 15 * kMiB,
                   .decoder_cache = 100 * kMiB,
                   .prompt = 5 * kMiB},
          .slots = 4,
          .decoder_cache_slots = 4,
          .weights = 300 * kMiB,
          .scratch = 20 * kMiB,
          .frames = 10 * kMiB};
}

MemoryBudget Left(uint64_t mib) {
  return {{{.name = "the machine's memory", .bytes = 10000 * kMiB, .in_use = 1000 * kMiB},
           {.name = "cgroup /pod", .bytes = 2000 * kMiB, .in_use = (2000 - mib) * kMiB}}};
}

TEST(MemoryPlan, FitsIntoWhatTheTightestLimitLeaves) {
  EXPECT_TRUE(CheckMemory(Plan(), Left(630)).ok());
  const absl::Status status = CheckMemory(Plan(), Left(629));
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_EQ(status.message(),
            "max_sessions: 4 sessions of the model's largest size and longest block need 630 MiB (200 MiB for the "
            "sessions, 400 MiB for decoding, 30 MiB once), and there are 629 MiB of cgroup /pod, 2000 MiB less what is "
            "in use");
  EXPECT_TRUE(CheckMemory(Plan(), {}).ok());  // a system that says nothing
}

TEST(MemoryPlan, LeavesRoomForTheRestOfTheProcess) {
  MemoryPlan plan = Plan();
  plan.others = 70 * kMiB;
  EXPECT_TRUE(CheckMemory(plan, Left(700)).ok());
  EXPECT_THAT(std::string(CheckMemory(plan, Left(699)).message()), HasSubstr("70 MiB for the rest of the process"));
  plan.device_memory = 920 * kMiB;
  EXPECT_TRUE(CheckMemory(plan, Left(80)).ok());
  EXPECT_FALSE(CheckMemory(plan, Left(79)).ok());
}

// Weights that are mapped are in memory only when passes have read them.
TEST(MemoryPlan, LeavesRoomForMappedWeights) {
  MemoryPlan plan = Plan();
  plan.mapped = 250 * kMiB;
  EXPECT_TRUE(CheckMemory(plan, Left(880)).ok());
  EXPECT_THAT(std::string(CheckMemory(plan, Left(879)).message()), HasSubstr("280 MiB once"));
}

TEST(MemoryPlan, CachesOfAllSessionsCountOnTheHostWhereTheirSlotsAreFewer) {
  MemoryPlan plan = Plan();
  plan.decoder_cache_slots = 1;
  EXPECT_TRUE(CheckMemory(plan, Left(730)).ok());
  EXPECT_FALSE(CheckMemory(plan, Left(729)).ok());
}

TEST(MemoryPlan, ADeviceHasItsOwnMemory) {
  MemoryPlan plan = Plan();
  plan.device_memory = 920 * kMiB;  // weights are in the plan there
  EXPECT_TRUE(CheckMemory(plan, Left(10)).ok());
  EXPECT_THAT(std::string(CheckMemory(plan, Left(9)).message()), HasSubstr("cgroup /pod"));
  --plan.device_memory;
  EXPECT_THAT(std::string(CheckMemory(plan, Left(1000)).message()), HasSubstr("of the device's memory"));
  plan.decoder_cache_slots = 2;
  EXPECT_TRUE(CheckMemory(plan, Left(410)).ok());
  EXPECT_FALSE(CheckMemory(plan, Left(409)).ok());
}

// Numbers of a hostile folder, whose product leaves 64 bits.
TEST(MemoryPlan, DoesNotOverflow) {
  MemoryPlan plan = Plan();
  plan.slot.state = uint64_t{1} << 62;
  plan.slots = 4096;
  EXPECT_TRUE(absl::IsResourceExhausted(CheckMemory(plan, Left(1000))));
}

TEST(MemoryPlan, IsDescribedInALine) {
  EXPECT_EQ(
      Describe(Plan(), Left(800)),
      "memory: 4 sessions; weights 300 MiB, 630 MiB more on the host, where 800 MiB are left of cgroup /pod, 2000 "
      "MiB");
}

}  // namespace
}  // namespace longtake
