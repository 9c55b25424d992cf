#include "engine/core/machine.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "engine/core/cgroup.h"
#include "engine/core/system_files.h"

namespace longtake {
namespace {

std::string CpuFolder(const std::string& root, int cpu) {
  return absl::StrCat(root, "/sys/devices/system/cpu/cpu", cpu);
}

// The kernel reports limits of both cpusets and taskset here.
std::vector<int> AllowedCpus(const std::string& root) {
  constexpr absl::string_view kKey = "Cpus_allowed_list:";
  const std::string status = ReadSystemFile(root + "/proc/self/status").value_or("");
  for (const absl::string_view line : absl::StrSplit(status, '\n')) {
    if (absl::StartsWith(line, kKey)) return ParseCpuList(line.substr(kKey.size()));
  }
  std::vector<int> all(std::max(1u, std::thread::hardware_concurrency()));
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int>(i);
  return all;
}

std::vector<Machine::Core> CoresOf(const std::string& root, const std::vector<int>& cpus) {
  std::vector<Machine::Core> cores;
  std::map<int, size_t> core_of;  // by the lowest of all the core's logical processors, allowed or not
  for (const int cpu : cpus) {
    const std::vector<int> siblings =
        ParseCpuList(ReadSystemFile(CpuFolder(root, cpu) + "/topology/thread_siblings_list").value_or(""));
    const int first = siblings.empty() ? cpu : *std::min_element(siblings.begin(), siblings.end());
    const auto [it, is_new] = core_of.emplace(first, cores.size());
    if (is_new) cores.emplace_back();
    cores[it->second].cpus.push_back(cpu);
  }
  return cores;
}

// Parses "48K", "32M".
size_t ParseSize(absl::string_view text) {
  size_t unit = 1;
  if (absl::EndsWith(text, "K")) unit = size_t{1} << 10;
  if (absl::EndsWith(text, "M")) unit = size_t{1} << 20;
  if (unit > 1) text.remove_suffix(1);
  uint64_t value = 0;
  return absl::SimpleAtoi(text, &value) ? value * unit : 0;
}

CacheSizes CachesOf(const std::string& root, const std::vector<Machine::Core>& cores) {
  CacheSizes caches;
  for (int index = 0;; ++index) {
    const std::string folder = absl::StrCat(CpuFolder(root, cores[0].cpus[0]), "/cache/index", index);
    const std::optional<uint64_t> level = ReadSystemNumber(folder + "/level");
    if (!level.has_value()) return caches;
    if (ReadSystemFile(folder + "/type") == "Instruction") continue;
    const size_t size = ParseSize(ReadSystemFile(folder + "/size").value_or(""));
    if (level == 1) caches.l1d = size;
    if (level == 2) caches.l2 = size;
    if (level != 3) continue;
    caches.l3 = size;
    const std::vector<int> shared = ParseCpuList(ReadSystemFile(folder + "/shared_cpu_list").value_or(""));
    const std::set<int> sharing(shared.begin(), shared.end());
    const auto inside = [&](const Machine::Core& core) { return sharing.count(core.cpus[0]) > 0; };
    caches.l3_cores = std::max(1, static_cast<int>(std::count_if(cores.begin(), cores.end(), inside)));
  }
}

std::vector<NumaNode> NodesOf(const std::string& root, const std::vector<Machine::Core>& cores) {
  std::vector<NumaNode> nodes;
  const std::string online = ReadSystemFile(root + "/sys/devices/system/node/online").value_or("");
  for (const int id : ParseCpuList(online)) {
    const std::vector<int> list =
        ParseCpuList(ReadSystemFile(absl::StrCat(root, "/sys/devices/system/node/node", id, "/cpulist")).value_or(""));
    NumaNode node{.id = id};
    for (size_t i = 0; i < cores.size(); ++i) {
      if (std::find(list.begin(), list.end(), cores[i].cpus[0]) != list.end())
        node.cores.push_back(static_cast<int>(i));
    }
    if (!node.cores.empty()) nodes.push_back(std::move(node));
  }
  size_t placed = 0;
  for (const NumaNode& node : nodes) placed += node.cores.size();
  if (placed == cores.size()) return nodes;
  NumaNode all;
  for (size_t i = 0; i < cores.size(); ++i) all.cores.push_back(static_cast<int>(i));
  return {all};
}

}  // namespace

Machine Machine::Detect(const std::string& root) {
  Machine machine;
  std::vector<int> cpus = AllowedCpus(root);
  if (cpus.empty()) cpus = {0};
  machine.cpus = static_cast<int>(cpus.size());
  machine.cores = CoresOf(root, cpus);
  machine.cpu_quota = CgroupCpuQuota(root);
  machine.caches = CachesOf(root, machine.cores);
  machine.nodes = NodesOf(root, machine.cores);
  return machine;
}

ThreadChoice ChooseThreads(const Machine& machine) {
  const auto cores = static_cast<int>(machine.cores.size());
  ThreadChoice choice{.threads = cores, .reason = absl::StrCat(cores, " physical cores")};
  if (machine.cpus != cores) absl::StrAppend(&choice.reason, " of ", machine.cpus, " logical processors");
  if (machine.cpu_quota.has_value()) {
    absl::StrAppend(&choice.reason, ", a cgroup quota of ", *machine.cpu_quota, " processors");
    choice.threads = std::min(cores, std::max(1, static_cast<int>(std::ceil(*machine.cpu_quota))));
  }
  return choice;
}

}  // namespace longtake
