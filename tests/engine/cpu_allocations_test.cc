// The cpu backend's operations allocate nothing: never where their scratch was reserved, else not once it has grown.
// A program of its own, for it replaces operator new.
#include <cstdlib>
#include <new>

#include "gtest/gtest.h"
#include "tests/engine/counted_ops.h"
#include "tests/engine/cpu_backends.h"
#include "tests/engine/ops_cases.h"

namespace {

void* Allocate(std::size_t bytes, std::size_t alignment) {
  longtake::NoteAllocation();
  void* memory = nullptr;
  if (posix_memalign(&memory, alignment, bytes) != 0) throw std::bad_alloc();
  return memory;
}

}  // namespace

// The other forms of the language call these.
void* operator new(std::size_t bytes) { return Allocate(bytes, __STDCPP_DEFAULT_NEW_ALIGNMENT__); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return Allocate(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace longtake {
namespace {

class CpuAllocationsTest : public testing::TestWithParam<CpuBackend> {
 protected:
  void SetUp() override {
    stream_ = MakeCpuStream(GetParam(), 3);
    if (stream_.ops == nullptr) GTEST_SKIP() << "this machine lacks " << GetParam().isa;
    counted_ = CountAllocations(*stream_.ops);
  }
  void RunAll() {
    for (const OpsCase& c : cases_) {
      const int64_t before = AllocationsInOperations();
      (void)c.run(*counted_, AllGroups(c));
      if (AllocationsInOperations() != before) last_ = c.name;
    }
  }
  int64_t AllocationsOfARound() {
    const int64_t before = AllocationsInOperations();
    RunAll();
    return AllocationsInOperations() - before;
  }

  const std::vector<OpsCase> cases_ = AllCases();
  CpuStream stream_;
  std::unique_ptr<Ops> counted_;
  std::string last_;  // the last case that allocated
};

INSTANTIATE_TEST_SUITE_P(Cpu, CpuAllocationsTest, testing::ValuesIn(kCpuBackends),
                         [](const auto& info) { return Name(info.param); });

TEST_P(CpuAllocationsTest, NoneWithAReservation) {
  counted_->scratch().Plan([this] { RunAll(); });
  ASSERT_TRUE(counted_->scratch().Reserve().ok());
  EXPECT_EQ(AllocationsOfARound(), 0) << last_;
  EXPECT_EQ(AllocationsOfARound(), 0) << last_;
}

TEST_P(CpuAllocationsTest, NoneOnceScratchHasGrown) {
  EXPECT_GT(AllocationsOfARound(), 0);  // the control: growing is seen
  (void)AllocationsOfARound();          // the region may grow to the largest sum at its next use
  EXPECT_EQ(AllocationsOfARound(), 0) << last_;
}

}  // namespace
}  // namespace longtake
