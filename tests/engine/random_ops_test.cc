// Operations of random shapes on every instruction set. The seeds are fixed; any other must pass as well.
#include "engine/core/float16.h"
#include "engine/reference/reference_ops.h"
#include "gtest/gtest.h"
#include "tests/engine/cpu_ops_fixture.h"
#include "tests/engine/ops_cases.h"
#include "tests/engine/random_cases.h"

namespace longtake {
namespace {

constexpr uint32_t kSeeds[] = {1, 2, 3};

std::vector<float> All(const GroupResults& results) {
  std::vector<float> all;
  for (const auto& [group, values] : results) all.insert(all.end(), values.begin(), values.end());
  return all;
}

using RandomOpsTest = CpuOpsFixture;

// Where sums are exact, packing, tiles and epilogues are all that could differ: no error is allowed. So all instruction
// sets, and AMX's emulation, agree with each other to the byte.
TEST_P(RandomOpsTest, WholeNumbersAreExact) {
  const auto reference = MakeReferenceOps();
  for (const auto& [c, f32] : RandomExactCases(kSeeds, 60)) {
    std::vector<float> expected = All(c.run(*reference, AllGroups(c)));
    if (!f32 && ops_->activation_type() == DType::kBF16) {
      for (float& v : expected) v = BF16ToFloat(FloatToBF16(v));
    }
    EXPECT_TRUE(All(c.run(*ops_, AllGroups(c))) == expected) << c.name;
  }
}

TEST_P(RandomOpsTest, EqualReferenceInAnyBatchOnAnyThreads) {
  const auto reference = MakeReferenceOps(), seven = MakeOps(GetParam(), 7);
  for (const OpsCase& c : RandomCases(kSeeds, 56)) {
    SCOPED_TRACE(c.name);
    const GroupResults results = c.run(*ops_, AllGroups(c));
    // Of all groups together: one group may be a single number near zero.
    EXPECT_LE(Error(All(c.run(*reference, AllGroups(c))), All(results)), ErrorBound(GetParam()));
    for (const Groups& groups : {Groups{1}, Groups{2, 0}}) {
      for (const auto& [group, values] : c.run(*seven, groups)) {
        EXPECT_TRUE(SameBytes(values, results.at(group))) << "group " << group << " in a batch of " << groups.size();
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cpu, RandomOpsTest, testing::ValuesIn(kCpuBackends),
                         [](const auto& info) { return Name(info.param); });

// What is tested in the emulation holds for the instructions.
TEST(Amx, GivesTheBytesOfItsEmulation) {
  const auto real = MakeOps({"amx_bf16", "bfloat16"}, 2), emulated = MakeOps({"amx_emulated", "bfloat16"}, 2);
  if (real == nullptr) GTEST_SKIP() << "this machine lacks amx_bf16";
  std::vector<OpsCase> cases = AllCases();
  for (OpsCase& c : RandomCases(kSeeds, 56)) cases.push_back(std::move(c));
  for (const OpsCase& c : cases) {
    const GroupResults expected = c.run(*emulated, AllGroups(c));
    for (const auto& [group, values] : c.run(*real, AllGroups(c))) {
      EXPECT_TRUE(SameBytes(values, expected.at(group))) << c.name << ", group " << group;
    }
  }
}

}  // namespace
}  // namespace longtake
