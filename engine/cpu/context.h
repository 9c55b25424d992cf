// The threads, kernels and workspace that the families of one stream share.
#ifndef LONGTAKE_ENGINE_CPU_CONTEXT_H_
#define LONGTAKE_ENGINE_CPU_CONTEXT_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "engine/core/thread_pool.h"
#include "engine/cpu/kernels/kernel_table.h"
#include "engine/cpu/rotary.h"
#include "engine/cpu/workspace.h"
#include "engine/ops/family.h"

namespace longtake::cpu {

struct Context : FamilyContext {
  // `name` is the name of the device.
  Context(std::string name, const KernelTable& kernels, DType activation, std::shared_ptr<ThreadPool> threads)
      : name(std::move(name)), kernels(kernels), pool(std::move(threads)), workspace(pool->threads()) {
    activation_type = activation;
  }

  bool planning() const { return workspace.planning(); }
  // While planning, parallel loops are skipped. An operation accesses memory only inside parallel loops and takes its
  // workspace outside of them, so a planned call only counts workspace.
  void SetPlanning(bool planning) {
    workspace.SetPlanning(planning);
    rotary.SetPlanning(planning);
  }

  // Calls f(task, thread) for each task, as ThreadPool::ParallelFor does.
  void ParallelFor(int64_t tasks, absl::FunctionRef<void(int64_t, int)> f) {
    if (!planning()) pool->ParallelFor(tasks, f);
  }

  // Calls f(first, n, thread) for chunks of [0, rows) of about 16 Ki elements each.
  template <typename F>
  void ForRows(int64_t rows, int64_t columns, F&& f) {
    const int64_t chunk = std::clamp<int64_t>(16384 / std::max<int64_t>(columns, 1), 1, 256);
    ParallelFor((rows + chunk - 1) / chunk, [&](int64_t task, int thread) {
      const int64_t first = task * chunk;
      f(first, std::min(chunk, rows - first), thread);
    });
  }

  const std::string name;
  const KernelTable kernels;
  const std::shared_ptr<ThreadPool> pool;  // shared by the contexts of all activation types
  Workspace workspace;
  RotaryTables rotary;
};

}  // namespace longtake::cpu

#endif  // LONGTAKE_ENGINE_CPU_CONTEXT_H_
