// What a process may use of a machine, read from imitated /proc and /sys.
#include "engine/core/machine.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/core/cgroup.h"
#include "engine/core/memory_budget.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/temp_folder.h"

namespace longtake {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uint64_t kGiB = uint64_t{1} << 30;

class MachineTest : public testing::Test {
 protected:
  void Write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = root_.path() + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text << "\n";
  }
  // `cores` with two hyper-threads each: processors i and i + cores, as Linux counts.
  void WriteCores(int cores, const std::string& allowed) {
    Write("/proc/self/status", "Name:\ttest\nVmSize:\t  1048576 kB\nCpus_allowed_list:\t" + allowed);
    for (int cpu = 0; cpu < 2 * cores; ++cpu) {
      const std::string folder = absl::StrCat("/sys/devices/system/cpu/cpu", cpu);
      Write(folder + "/topology/thread_siblings_list", absl::StrCat(cpu % cores, ",", cpu % cores + cores));
    }
  }
  void WriteV2(const std::string& group) {
    Write("/proc/self/cgroup", "0::" + group);
    Write("/proc/self/mountinfo",
          "24 30 0:22 / /proc rw - proc proc rw\n31 30 0:27 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw");
  }
  const std::string& root() const { return root_.path(); }

 private:
  const TempFolder root_;
};

TEST_F(MachineTest, CountsPhysicalCoresOfTheAllowedProcessors) {
  WriteCores(4, "0-7");
  Machine machine = Machine::Detect(root());
  EXPECT_EQ(machine.cores.size(), 4u);
  EXPECT_EQ(machine.cpus, 8);
  EXPECT_THAT(machine.cores[1].cpus, ElementsAre(1, 5));
  EXPECT_EQ(ChooseThreads(machine).threads, 4);
  EXPECT_EQ(ChooseThreads(machine).reason, "4 physical cores of 8 logical processors");

  WriteCores(4, "1,5-6");
  machine = Machine::Detect(root());
  ASSERT_EQ(machine.cores.size(), 2u);
  EXPECT_THAT(machine.cores[0].cpus, ElementsAre(1, 5));
  EXPECT_THAT(machine.cores[1].cpus, ElementsAre(6));
}

TEST_F(MachineTest, ReadsCachesAndNodes) {
  WriteCores(4, "0-7");
  const std::string cache = "/sys/devices/system/cpu/cpu0/cache/index";
  const auto write_cache = [&](int index, const std::string& level, const std::string& type, const std::string& size) {
    Write(absl::StrCat(cache, index, "/level"), level);
    Write(absl::StrCat(cache, index, "/type"), type);
    Write(absl::StrCat(cache, index, "/size"), size);
  };
  write_cache(0, "1", "Data", "48K");
  write_cache(1, "1", "Instruction", "32K");
  write_cache(2, "2", "Unified", "2048K");
  write_cache(3, "3", "Unified", "32M");
  Write(cache + "3/shared_cpu_list", "0-1,4-5");
  Write("/sys/devices/system/node/online", "0-1");
  Write("/sys/devices/system/node/node0/cpulist", "0-1,4-5");
  Write("/sys/devices/system/node/node1/cpulist", "2-3,6-7");
  const Machine machine = Machine::Detect(root());
  EXPECT_EQ(machine.caches.l1d, size_t{48} << 10);
  EXPECT_EQ(machine.caches.l2, size_t{2} << 20);
  EXPECT_EQ(machine.caches.l3, size_t{32} << 20);
  EXPECT_EQ(machine.caches.l3_cores, 2);
  ASSERT_EQ(machine.nodes.size(), 2u);
  EXPECT_THAT(machine.nodes[0].cores, ElementsAre(0, 1));
  EXPECT_THAT(machine.nodes[1].cores, ElementsAre(2, 3));
}

TEST_F(MachineTest, WorksWhereTheSystemSaysNothing) {
  const Machine machine = Machine::Detect(root());
  EXPECT_GE(machine.cores.size(), 1u);
  ASSERT_EQ(machine.nodes.size(), 1u);
  EXPECT_EQ(machine.nodes[0].cores.size(), machine.cores.size());
  EXPECT_EQ(machine.cpu_quota, std::nullopt);
  EXPECT_EQ(MemoryBudget::Detect(root()).tightest(), nullptr);
}

TEST_F(MachineTest, ReadsThisMachine) {
  const Machine machine = Machine::Detect();
  EXPECT_GE(machine.cores.size(), 1u);
  EXPECT_LE(static_cast<int>(machine.cores.size()), machine.cpus);
  EXPECT_GE(ChooseThreads(machine).threads, 1);
  const MemoryBudget budget = MemoryBudget::Detect();
  ASSERT_NE(budget.tightest(), nullptr);
  EXPECT_GT(budget.tightest()->available(), 0u);
}

TEST_F(MachineTest, TheTightestQuotaOfNestedGroupsCounts) {
  WriteCores(8, "0-15");
  WriteV2("/pod/engine");
  Write("/sys/fs/cgroup/pod/engine/cpu.max", "max 100000");
  EXPECT_EQ(Machine::Detect(root()).cpu_quota, std::nullopt);
  Write("/sys/fs/cgroup/pod/cpu.max", "250000 100000");
  EXPECT_EQ(Machine::Detect(root()).cpu_quota, 2.5);
  EXPECT_EQ(ChooseThreads(Machine::Detect(root())).threads, 3);
  Write("/sys/fs/cgroup/pod/engine/cpu.max", "50000 100000");
  const ThreadChoice choice = ChooseThreads(Machine::Detect(root()));
  EXPECT_EQ(choice.threads, 1);
  EXPECT_THAT(choice.reason, HasSubstr("a cgroup quota of 0.5 processors"));
  Write("/sys/fs/cgroup/pod/cpu.max", "1600000 100000");
  Write("/sys/fs/cgroup/pod/engine/cpu.max", "1600000 100000");
  EXPECT_EQ(ChooseThreads(Machine::Detect(root())).threads, 8);  // never more than cores
}

// A container with a namespace of its own: its group is the mount's root.
TEST_F(MachineTest, ReadsTheRootOfACgroupNamespace) {
  WriteV2("/");
  Write("/sys/fs/cgroup/cpu.max", "200000 100000");
  Write("/sys/fs/cgroup/memory.max", absl::StrCat(4 * kGiB));
  Write("/sys/fs/cgroup/memory.current", absl::StrCat(3 * kGiB));
  Write("/sys/fs/cgroup/memory.stat", absl::StrCat("anon 1\ninactive_file ", kGiB, "\nactive_file ", kGiB));
  EXPECT_EQ(CgroupCpuQuota(root()), 2.0);
  const auto limits = CgroupMemoryLimits(root());
  ASSERT_EQ(limits.size(), 1u);
  EXPECT_EQ(limits[0].limit, 4 * kGiB);
  EXPECT_EQ(limits[0].in_use, kGiB);  // page cache can be taken back
}

// Docker on cgroup v1: the group is named from the host's top, and mounted.
TEST_F(MachineTest, ReadsV1) {
  WriteCores(4, "0-7");
  Write("/proc/self/cgroup", "9:name=systemd:/docker/abc\n4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n0::/");
  Write("/proc/self/mountinfo",
        "32 31 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n"
        "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
        "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw");
  Write("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1");
  Write("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000");
  EXPECT_EQ(CgroupCpuQuota(root()), std::nullopt);
  Write("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "150000");
  EXPECT_EQ(CgroupCpuQuota(root()), 1.5);
  Write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712");
  EXPECT_THAT(CgroupMemoryLimits(root()), IsEmpty());
  Write("/sys/fs/cgroup/memory/memory.limit_in_bytes", absl::StrCat(2 * kGiB));
  Write("/sys/fs/cgroup/memory/memory.usage_in_bytes", absl::StrCat(kGiB));
  Write("/sys/fs/cgroup/memory/memory.stat", "inactive_file 7\ntotal_inactive_file 1000\ntotal_active_file 24");
  const auto limits = CgroupMemoryLimits(root());
  ASSERT_EQ(limits.size(), 1u);
  EXPECT_EQ(limits[0].in_use, kGiB - 1024);
}

TEST_F(MachineTest, TheTightestMemoryLimitCounts) {
  WriteCores(1, "0");
  WriteV2("/pod/engine");
  Write("/proc/meminfo", "MemTotal:       16777216 kB\nMemFree:  1 kB\nMemAvailable:   12582912 kB");
  EXPECT_EQ(MemoryBudget::Detect(root()).tightest()->available(), 12 * kGiB);
  EXPECT_EQ(MemoryBudget::Detect(root()).tightest()->name, "the machine's memory");
  Write("/sys/fs/cgroup/pod/engine/memory.max", "max");
  Write("/sys/fs/cgroup/pod/memory.max", absl::StrCat(8 * kGiB));
  Write("/sys/fs/cgroup/pod/memory.current", absl::StrCat(9 * kGiB));
  EXPECT_EQ(MemoryBudget::Detect(root()).tightest()->available(), 0u);
  EXPECT_THAT(MemoryBudget::Detect(root()).tightest()->name, HasSubstr("cgroup"));
  Write("/sys/fs/cgroup/pod/memory.current", absl::StrCat(kGiB));
  EXPECT_EQ(MemoryBudget::Detect(root()).tightest()->available(), 7 * kGiB);
  Write("/proc/self/limits",
        "Limit                     Soft Limit           Hard Limit           Units\n"
        "Max address space         4294967296           unlimited            bytes");
  EXPECT_EQ(MemoryBudget::Detect(root()).tightest()->available(), 3 * kGiB);
  EXPECT_THAT(MemoryBudget::Detect(root()).tightest()->name, HasSubstr("ulimit -v"));
}

}  // namespace
}  // namespace longtake
