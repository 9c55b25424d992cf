// The fixture of tests of operations on each instruction set and type that this machine has.
#ifndef LONGTAKE_TESTS_ENGINE_CPU_OPS_FIXTURE_H_
#define LONGTAKE_TESTS_ENGINE_CPU_OPS_FIXTURE_H_

#include <memory>

#include "gtest/gtest.h"
#include "tests/engine/cpu_backends.h"
#include "tests/engine/ops_cases.h"

namespace longtake {

class CpuOpsFixture : public testing::TestWithParam<CpuBackend> {
 protected:
  void SetUp() override {
    ops_ = MakeOps(GetParam(), 2);
    if (ops_ == nullptr) GTEST_SKIP() << "this machine lacks " << GetParam().isa;
  }

  // Every group has the same bytes in each of these batches, on one, two and eight threads.
  void ExpectBatchAndThreadsChangeNoByte(const OpsCase& c) const {
    SCOPED_TRACE(c.name);
    const auto one = MakeOps(GetParam(), 1), eight = MakeOps(GetParam(), 8);
    const GroupResults expected = c.run(*ops_, AllGroups(c));
    for (Ops* ops : {ops_.get(), one.get(), eight.get()}) {
      for (const Groups& groups : {Groups{0}, Groups{1}, Groups{2}, Groups{2, 0}, Groups{1, 2, 0}}) {
        for (const auto& [group, values] : c.run(*ops, groups)) {
          EXPECT_TRUE(SameBytes(values, expected.at(group))) << "group " << group << " of " << groups.size();
        }
      }
    }
  }

  std::unique_ptr<Ops> ops_;
};

}  // namespace longtake

#endif  // LONGTAKE_TESTS_ENGINE_CPU_OPS_FIXTURE_H_
