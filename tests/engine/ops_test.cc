// Every operation of the cpu backend, on each instruction set and type that this machine has, against the reference;
// and its bytes against themselves at other thread counts and in other batches.
#include <cmath>
#include <cstring>
#include <map>
#include <string>

#include "engine/cpu/available_kernels.h"
#include "engine/cpu/cpu_ops.h"
#include "engine/reference/reference_ops.h"
#include "gtest/gtest.h"
#include "tests/engine/cpu_ops_fixture.h"
#include "tests/engine/ops_cases.h"

namespace longtake {
namespace {

// 8-bit pixels: one step of 255 where a value lies on the edge between two.
constexpr double kPixels = 1.0 / 235;

class OpsTest : public CpuOpsFixture {
 protected:
  // The reference's results, computed once for all backends.
  static void SetUpTestSuite() {
    const auto reference = MakeReferenceOps();
    for (const OpsCase& c : AllCases()) expected_[c.name] = c.run(*reference, AllGroups(c));
  }
  static void TearDownTestSuite() { expected_.clear(); }

  static inline std::map<std::string, GroupResults> expected_;
};

TEST_P(OpsTest, EqualsReference) {
  for (const OpsCase& c : AllCases()) {
    SCOPED_TRACE(c.name);
    const double tolerance = c.name.find("i420") != std::string::npos ? kPixels : ErrorBound(GetParam());
    const GroupResults actual = c.run(*ops_, AllGroups(c));
    for (const auto& [group, values] : expected_.at(c.name)) {
      ASSERT_EQ(values.size(), actual.at(group).size());
      const double error = Error(values, actual.at(group));
      EXPECT_LE(error, tolerance) << "group " << group;
    }
  }
}

// Up to more threads than most cases have tasks.
TEST_P(OpsTest, ThreadCountChangesNoByte) {
  const auto one = MakeOps(GetParam(), 1), three = MakeOps(GetParam(), 3), eight = MakeOps(GetParam(), 8),
             sixteen = MakeOps(GetParam(), 16);
  for (const OpsCase& c : AllCases()) {
    SCOPED_TRACE(c.name);
    const GroupResults expected = c.run(*one, AllGroups(c));
    for (Ops* other : {three.get(), eight.get(), sixteen.get()}) {
      for (const auto& [group, values] : c.run(*other, AllGroups(c))) {
        EXPECT_TRUE(SameBytes(values, expected.at(group))) << "group " << group;
      }
    }
  }
}

TEST_P(OpsTest, BatchChangesNoByte) {
  for (const OpsCase& c : AllCases()) {
    SCOPED_TRACE(c.name);
    const GroupResults expected = c.run(*ops_, AllGroups(c));
    for (const Groups& groups : {Groups{0}, Groups{1}, Groups{2}, Groups{2, 0}, Groups{1, 2, 0}}) {
      for (const auto& [group, values] : c.run(*ops_, groups)) {
        EXPECT_TRUE(SameBytes(values, expected.at(group))) << "group " << group << " in a batch of " << groups.size();
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cpu, OpsTest, testing::ValuesIn(kCpuBackends),
                         [](const auto& info) { return Name(info.param); });

// A row's result is the same wherever it stands, for every number of rows around a tile and a block.
TEST_P(OpsTest, RowCountChangesNoByte) {
  constexpr int64_t kInputs = 70, kOutputs = 150, kMost = 200;
  Bench bench(*ops_);
  const auto kernel = bench.Kernel({.outputs = kOutputs, .inputs = kInputs}, 1, true);
  const Mat x = bench.Act(Random(kMost * kInputs, 2), kInputs);
  const Mat all = bench.EmptyAct(kMost, kOutputs), some = bench.EmptyAct(kMost, kOutputs);
  ops_->dense().Linear({.kernel = *kernel, .x = x, .y = all});
  const auto expected = bench.Read(all);
  for (int64_t n : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 23, 25, 48, 97, 193}) {
    for (int64_t first : {int64_t{0}, int64_t{5}, kMost - n}) {
      if (first + n > kMost) continue;
      ops_->dense().Linear({.kernel = *kernel, .x = x.Rows(first, n), .y = some.Rows(0, n)});
      const auto actual = bench.Read(some.Rows(0, n));
      EXPECT_EQ(std::memcmp(actual.data(), expected.data() + first * kOutputs, actual.size() * sizeof(float)), 0)
          << n << " rows from " << first;
    }
  }
}

// An odd row's last input is read without its neighbour: NaN behind the row changes nothing.
TEST_P(OpsTest, NothingBehindARowIsRead) {
  Bench bench(*ops_);
  std::vector<float> values = Random(20 * 10, 2);
  for (size_t i = 9; i < values.size(); i += 10) values[i] = NAN;
  const Mat x = bench.Act(values, 10), y = bench.EmptyAct(20, 33);
  const auto kernel = bench.Kernel({.outputs = 33, .inputs = 9}, 1, true);
  ops_->dense().Linear({.kernel = *kernel, .x = x.Cols(0, 9), .y = y});
  for (float v : bench.Read(y)) EXPECT_TRUE(std::isfinite(v));
}

TEST(MakeCpuOps, RefusesWhatItCannotDo) {
  if (cpu::DetectIsa() == cpu::Isa::kNone) {
    const auto status = MakeCpuOps({}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_NE(status.message().find("backend: cpu"), std::string::npos) << status;
    return;
  }
  auto message = [](const CpuOptions& options) {
    const auto ops = MakeCpuOps(options);
    EXPECT_EQ(ops.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(ops.status().message());
  };
  EXPECT_NE(message({.threads = 0}).find("threads"), std::string::npos);
  EXPECT_NE(message({.isa = "sse9"}).find("isa"), std::string::npos);
  EXPECT_NE(message({.dtype = "float64"}).find("dtype"), std::string::npos);
  EXPECT_NE(message({.isa = "avx2", .dtype = "bfloat16"}).find("dtype"), std::string::npos);
}

}  // namespace
}  // namespace longtake
